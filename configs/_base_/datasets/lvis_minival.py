# LVIS minival, 4,809 images of COCO val2017, fixed AP (arXiv:2102.01066): 10,000
# results a class and no limit an image. COCO_ROOT may point elsewhere. Needs the
# package lvis.
data_root = '{{$COCO_ROOT:data/coco}}'
test_ann_file = 'annotations/lvis_v1_minival_inserted_image_name.json'
test_pipeline = [
    dict(type='OpenVocabLoadImage'),
    dict(
        type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape')
    ),
]
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='LVISV1Dataset',
        data_root=data_root,
        ann_file=test_ann_file,
        data_prefix=dict(img=''),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_evaluator = dict(
    type='LVISFixedAPMetric', ann_file=data_root + '/' + test_ann_file
)
test_cfg = dict(type='TestLoop')
