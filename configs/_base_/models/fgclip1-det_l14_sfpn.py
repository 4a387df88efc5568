# The same detector on FG-CLIP 1 large; its patches of 14 pixels are 16 of the image.
_base_ = './fgclip1-det_b16_sfpn.py'
model = dict(
    backbone=dict(encoder=dict(pretrained='qihoo360/fg-clip-large'), frozen_stages=24),
    neck=dict(in_channels=1024),
    roi_head=dict(bbox_head=dict(embed_dims=768)),
)
