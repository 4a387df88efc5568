_base_ = './faster-rcnn_fgclip2-b16_sfpn_1x_coco.py'
model = dict(
    backbone=dict(type='FGCLIP1ViT', encoder=dict(pretrained='qihoo360/fg-clip-base'))
)
