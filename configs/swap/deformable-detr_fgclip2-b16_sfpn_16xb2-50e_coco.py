# MMDetection's Deformable DETR: levels of stride 8 to 64; the encoder learns at 2e-5.
_base_ = 'mmdet::deformable_detr/deformable-detr_r50_16xb2-50e_coco.py'
custom_imports = dict(imports=['fgclip2_det.registration'], allow_failed_imports=False)
model = dict(
    data_preprocessor=dict(
        _delete_=True, type='FGCLIP2DetDataPreprocessor', pad_size_divisor=32
    ),
    backbone=dict(
        _delete_=True,
        type='FGCLIP2ViT',
        encoder=dict(pretrained='qihoo360/fg-clip2-base'),
    ),
    neck=dict(
        _delete_=True,
        type='FGCLIP2SimpleFPN',
        in_channels=768,
        out_channels=256,
        scales=(2, 1, 0.5),
        num_outs=4,
    ),
)
