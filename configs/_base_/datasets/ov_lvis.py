# OV-LVIS: 866 frequent and common classes are base, 337 rare ones novel, on LVIS v1's
# own files and COCO's images:
#   data/coco/{train2017/, val2017/, annotations/lvis_v1_{train,val}.json}
# Boxes of rare classes are dropped while loading; repeat-factor sampling as in LVIS.
# COCO_ROOT may point elsewhere. OV-LVIS is evaluated on all 19,809 images of val, by
# the plain metric, 300 detections an image; its headline is the AP of rare classes.
data_root = '{{$COCO_ROOT:data/coco}}'
train_ann_file = 'annotations/lvis_v1_train.json'
val_ann_file = 'annotations/lvis_v1_val.json'
image_size, max_num_patches = 640, 1600
meta_keys = (
    'img_id',
    'img_path',
    'ori_shape',
    'img_shape',
    'scale_factor',
    'flip',
    'flip_direction',
    'neg_labels',
    'not_exhaustive_labels',
)

train_pipeline = [
    dict(type='OpenVocabLoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='RandomResize',
        scale=(image_size, image_size),
        ratio_range=(0.1, 2.0),
        resize_type='Resize',
        keep_ratio=True,
    ),
    dict(
        type='RandomCrop',
        crop_size=(image_size, image_size),
        crop_type='absolute',
        recompute_bbox=True,
        allow_negative_crop=True,
    ),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-2, 1e-2), keep_empty=False),
    dict(type='PackDetInputs', meta_keys=meta_keys),
]
test_pipeline = [
    dict(type='OpenVocabLoadImage'),
    dict(type='FGCLIP2Resize', max_num_patches=max_num_patches),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]

train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='ClassBalancedDataset',
        oversample_thr=1e-3,
        dataset=dict(
            type='OpenVocabLVISDataset',
            data_root=data_root,
            ann_file=train_ann_file,
            data_prefix=dict(img=''),
            only_base=True,
            filter_cfg=dict(filter_empty_gt=True, min_size=32),
            pipeline=train_pipeline,
        ),
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='OpenVocabLVISDataset',
        data_root=data_root,
        ann_file=val_ann_file,
        data_prefix=dict(img=''),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(
    type='OpenVocabLVISMetric', ann_file=data_root + '/' + val_ann_file
)
test_evaluator = val_evaluator
