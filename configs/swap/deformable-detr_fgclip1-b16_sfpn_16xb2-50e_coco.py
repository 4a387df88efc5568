_base_ = './deformable-detr_fgclip2-b16_sfpn_16xb2-50e_coco.py'
model = dict(
    backbone=dict(type='FGCLIP1ViT', encoder=dict(pretrained='qihoo360/fg-clip-base'))
)
