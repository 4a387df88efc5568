_base_ = './mask2former_fgclip2-b16_sfpn_8xb2-lsj-50e_coco.py'
model = dict(
    backbone=dict(type='FGCLIP1ViT', encoder=dict(pretrained='qihoo360/fg-clip-base'))
)
