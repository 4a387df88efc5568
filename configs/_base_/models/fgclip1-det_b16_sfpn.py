# The same detector on a frozen FG-CLIP 1 base: 512 channels in its dense map and texts.
_base_ = './fgclip2-det_b16_sfpn.py'
model = dict(
    backbone=dict(type='FGCLIP1ViT', encoder=dict(pretrained='qihoo360/fg-clip-base')),
    roi_head=dict(bbox_head=dict(embed_dims=512)),
)
