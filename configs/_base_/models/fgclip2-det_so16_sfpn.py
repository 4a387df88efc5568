# The same detector on FG-CLIP 2 so400m.
_base_ = './fgclip2-det_b16_sfpn.py'
model = dict(
    backbone=dict(
        encoder=dict(pretrained='qihoo360/fg-clip2-so400m'), frozen_stages=27
    ),
    neck=dict(in_channels=1152),
    roi_head=dict(bbox_head=dict(embed_dims=1152)),
)
