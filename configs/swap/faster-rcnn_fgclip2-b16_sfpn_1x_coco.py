# MMDetection's Faster R-CNN with the FG-CLIP 2 backbone and a simple pyramid.
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
    ),
    neck=dict(
        _delete_=True,
        type='FGCLIP2SimpleFPN',
        in_channels=768,
        out_channels=256,
        num_outs=5,
    ),
)
optim_wrapper = dict(  # SGD's rates are too high for a transformer
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, weight_decay=0.1),
    clip_grad=dict(max_norm=1.0),
)
