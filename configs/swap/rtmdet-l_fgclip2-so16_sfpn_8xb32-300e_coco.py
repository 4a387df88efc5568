_base_ = './rtmdet-l_fgclip2-b16_sfpn_8xb32-300e_coco.py'
model = dict(
    backbone=dict(encoder=dict(pretrained='qihoo360/fg-clip2-so400m')),
    neck=[dict(_base_.model.neck[0], in_channels=1152), _base_.model.neck[1]],
)
