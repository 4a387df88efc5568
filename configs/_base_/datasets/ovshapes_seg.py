# OVShapes with a label map an image, see ovshapes.py. The background has none of the
# names: a trained decoder learns so, the measure leaves it out.
data_root = '{{$OVSHAPES_ROOT:data/ovshapes}}'
language = 'en'  # or 'zh'
num_train, num_val, image_size = 2000, 300, 256
max_num_patches = 400  # enlarged to 320 px: 20 patches a side
background_label = 254

train_pipeline = [
    dict(type='OpenVocabLoadImage'),
    dict(type='LoadAnnotations', with_bbox=False, with_seg=True),
    dict(type='FGCLIP2Resize', max_num_patches=max_num_patches),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'img_shape')),
]
test_pipeline = [
    dict(type='OpenVocabLoadImage'),
    dict(type='FGCLIP2Resize', max_num_patches=max_num_patches),
    # after resizing: original pixels
    dict(type='LoadAnnotations', with_bbox=False, with_seg=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape'),
    ),
]
dataset = dict(
    type='OVShapesDataset',
    data_root=data_root,
    language=language,
    num_train=num_train,
    num_val=num_val,
    image_size=image_size,
    with_seg=True,
)
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(split='train', pipeline=train_pipeline, **dataset),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(split='val', test_mode=True, pipeline=test_pipeline, **dataset),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='OpenVocabSegMetric', background_label=background_label)
test_evaluator = val_evaluator
