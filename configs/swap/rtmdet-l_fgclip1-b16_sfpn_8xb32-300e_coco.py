_base_ = './rtmdet-l_fgclip2-b16_sfpn_8xb32-300e_coco.py'
model = dict(
    backbone=dict(type='FGCLIP1ViT', encoder=dict(pretrained='qihoo360/fg-clip-base'))
)
