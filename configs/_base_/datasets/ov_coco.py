# OV-COCO: 48 base and 17 novel of COCO's 80 classes, on COCO's own files:
#   data/coco/{train2017/, val2017/, annotations/instances_{train,val}2017.json}
# The 15 other classes are dropped while loading. COCO_ROOT may point elsewhere.
data_root = '{{$COCO_ROOT:data/coco}}'
class_split = 'ov_coco'
train_ann_file = 'annotations/instances_train2017.json'
val_ann_file = 'annotations/instances_val2017.json'  # all 5,000 images
train_images, val_images = 'train2017/', 'val2017/'
max_num_patches = 1024

train_pipeline = [
    dict(type='OpenVocabLoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='FGCLIP2Resize', max_num_patches=max_num_patches),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='OpenVocabLoadImage'),
    dict(type='FGCLIP2Resize', max_num_patches=max_num_patches),
    dict(type='LoadAnnotations', with_bbox=True),  # after resizing: original pixels
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]

train_dataloader = dict(
    batch_size=2,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(
        type='OpenVocabCocoDataset',
        data_root=data_root,
        ann_file=train_ann_file,
        data_prefix=dict(img=train_images),
        class_split=class_split,
        only_base=True,
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='OpenVocabCocoDataset',
        data_root=data_root,
        ann_file=val_ann_file,
        data_prefix=dict(img=val_images),
        class_split=class_split,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(
    type='OpenVocabCocoMetric', ann_file=data_root + '/' + val_ann_file
)
test_evaluator = val_evaluator
