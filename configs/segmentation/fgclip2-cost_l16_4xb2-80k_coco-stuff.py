# The same on FG-CLIP 2 large.
_base_ = './fgclip2-cost_b16_4xb2-80k_coco-stuff.py'
model = dict(
    backbone=dict(
        encoder=dict(pretrained='qihoo360/fg-clip2-large'), out_indices=(7, 15)
    ),
    decode_head=dict(embed_dims=1024, map_channels=1024),
)
