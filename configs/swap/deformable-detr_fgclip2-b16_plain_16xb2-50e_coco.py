# MMDetection's Deformable DETR on one map of stride 16; the neck only narrows it.
_base_ = 'mmdet::deformable_detr/deformable-detr_r50_16xb2-50e_coco.py'
custom_imports = dict(imports=['fgclip2_det.registration'], allow_failed_imports=False)
model = dict(
    num_feature_levels=1,
    data_preprocessor=dict(
        _delete_=True, type='FGCLIP2DetDataPreprocessor', pad_size_divisor=32
    ),
    backbone=dict(
        _delete_=True,
        type='FGCLIP2ViT',
        encoder=dict(pretrained='qihoo360/fg-clip2-base'),
    ),
    neck=dict(in_channels=[768], num_outs=1),
    encoder=dict(layer_cfg=dict(self_attn_cfg=dict(num_levels=1))),
    decoder=dict(layer_cfg=dict(cross_attn_cfg=dict(num_levels=1))),
)
