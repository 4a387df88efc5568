_base_ = './grounding-dino_fgclip2-b16_sfpn_16xb4-1x_coco.py'
model = dict(
    backbone=dict(type='FGCLIP1ViT', encoder=dict(pretrained='qihoo360/fg-clip-base'))
)
