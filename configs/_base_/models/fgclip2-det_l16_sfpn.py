# The same detector on FG-CLIP 2 large.
_base_ = './fgclip2-det_b16_sfpn.py'
model = dict(
    backbone=dict(encoder=dict(pretrained='qihoo360/fg-clip2-large'), frozen_stages=24),
    neck=dict(in_channels=1024),
    roi_head=dict(bbox_head=dict(embed_dims=1024)),
)
