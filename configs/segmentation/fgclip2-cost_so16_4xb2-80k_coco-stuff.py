# The same on FG-CLIP 2 so400m.
_base_ = './fgclip2-cost_b16_4xb2-80k_coco-stuff.py'
model = dict(
    backbone=dict(
        encoder=dict(pretrained='qihoo360/fg-clip2-so400m'), out_indices=(8, 17)
    ),
    decode_head=dict(embed_dims=1152, map_channels=1152),
)
