_base_ = './retinanet_fgclip2-b16_sfpn_1x_coco.py'
model = dict(
    backbone=dict(encoder=dict(pretrained='qihoo360/fg-clip2-large')),
    neck=dict(in_channels=1024),
)
