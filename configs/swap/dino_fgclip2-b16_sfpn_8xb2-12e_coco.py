# MMDetection's DINO, 4 scales: levels of stride 8 to 64.
_base_ = 'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py'
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
