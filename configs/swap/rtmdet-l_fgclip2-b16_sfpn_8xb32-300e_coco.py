# MMDetection's RTMDet-l: levels of stride 8 to 32, and RTMDet's own neck behind them:
# its head of two convolutions counts on the levels being mixed before.
_base_ = 'mmdet::rtmdet/rtmdet_l_8xb32-300e_coco.py'
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
    neck=[
        dict(
            type='FGCLIP2SimpleFPN',
            in_channels=768,
            out_channels=256,
            scales=(2, 1, 0.5),
            num_outs=3,
        ),
        dict(_base_.model.neck, in_channels=[256] * 3),
    ],
)
optim_wrapper = (
    dict(  # the head's 0.004 is for weights from scratch: 1e-4 for the encoder
        paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.025)))
    )
)
