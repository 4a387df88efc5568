# The dense head's features, comparable with texts, instead of the last tokens.
_base_ = './retinanet_fgclip2-b16_sfpn_1x_coco.py'
model = dict(backbone=dict(output='dense'))
