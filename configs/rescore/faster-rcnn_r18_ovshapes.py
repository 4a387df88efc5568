# A detector of another kind for re-scoring: MMDetection's Faster R-CNN on a ResNet-18
# from scratch, its classifier replaced by text embeddings, trained on OVShapes' base
# classes.
_base_ = [
    '../_base_/models/fgclip2-det_tiny_sfpn.py',
    '../_base_/datasets/ovshapes.py',
    '../_base_/schedules/schedule_cpu.py',
    '../_base_/default_runtime.py',
]
max_epochs = 6
model = dict(
    type='OpenVocabFasterRCNN',
    data_preprocessor=dict(
        _delete_=True,
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    text_encoder=dict(pretrained='fgclip2_tiny'),
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=18,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        norm_cfg=dict(type='BN'),
        norm_eval=False,
        style='pytorch',
    ),
    neck=dict(
        _delete_=True,
        type='FPN',
        in_channels=[64, 128, 256, 512],
        out_channels=64,
        start_level=1,
        num_outs=3,
    ),
    roi_head=dict(
        _delete_=True,
        type='StandardRoIHead',
        bbox_roi_extractor={{_base_.model.roi_head.bbox_roi_extractor}},
        bbox_head={{_base_.model.roi_head.bbox_head}},
    ),
)
train_pipeline = [  # 256 px, as they are
    dict(type='OpenVocabLoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='FGCLIP2Resize', max_num_patches=256),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='OpenVocabLoadImage'),
    dict(type='FGCLIP2Resize', max_num_patches=256),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=max_epochs, val_interval=2)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        by_epoch=True,
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min_ratio=0.02,
        convert_to_iter_based=True,
    ),
]
