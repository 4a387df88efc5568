# MMDetection's own FPN over four blocks of the encoder. All are of stride 16, so levels
# differ in depth, not in resolution: small objects read the sum of all four blocks,
# large ones the last. Anchors stay those of the ResNet: 32 to 512 pixels.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['fgclip2_det.registration'], allow_failed_imports=False)
model = dict(
    data_preprocessor=dict(
        _delete_=True, type='FGCLIP2DetDataPreprocessor', pad_size_divisor=32
    ),
    backbone=dict(
        _delete_=True,
        type='FGCLIP2ViT',
        encoder=dict(pretrained='qihoo360/fg-clip2-base'),
        out_indices=(2, 5, 8, 11),
    ),
    neck=dict(in_channels=[768] * 4),
    rpn_head=dict(
        anchor_generator=dict(
            strides=[16, 16, 16, 16, 32], base_sizes=[4, 8, 16, 32, 64]
        )
    ),
    roi_head=dict(bbox_roi_extractor=dict(featmap_strides=[16] * 4)),
)
optim_wrapper = dict(  # SGD's rates are too high for a transformer
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, weight_decay=0.1),
    clip_grad=dict(max_norm=1.0),
)
