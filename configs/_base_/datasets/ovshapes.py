# OVShapes: 8 colours x 10 shapes, 48 base and 17 novel classes, generated on first use.
# OVSHAPES_ROOT in the environment puts it elsewhere.
data_root = '{{$OVSHAPES_ROOT:data/ovshapes}}'
language = 'en'  # or 'zh'
num_train, num_val, image_size = 2000, 300, 256  # another choice, another folder
max_num_patches = 400  # enlarged to 320 px: 20 patches a side; 576 is finer and slower

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
    batch_size=4,
    num_workers=0,  # an image loads in 3 ms; both cores train
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='OVShapesDataset',
        data_root=data_root,
        split='train',
        language=language,
        pipeline=train_pipeline,
        num_train=num_train,
        num_val=num_val,
        image_size=image_size,
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='OVShapesDataset',
        data_root=data_root,
        split='val',
        language=language,
        test_mode=True,
        pipeline=test_pipeline,
        num_train=num_train,
        num_val=num_val,
        image_size=image_size,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='OpenVocabCocoMetric')  # ground truth of the data samples
test_evaluator = val_evaluator
