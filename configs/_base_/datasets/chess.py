# Any COCO json with novel classes; here chess pieces, {white, black} x 6 pieces:
#   data/chess/{images/, train.json, valid.json}
# For data of your own: --cfg-options data_root=DIR novel_classes="['a','b']"
# (top-level variables reach every place they were used), or set CHESS_ROOT.
data_root = '{{$CHESS_ROOT:data/chess}}'
novel_classes = ['white-rook', 'black-bishop', 'white-queen']  # base is the rest
language = 'en'  # 'zh' takes the categories' name_zh
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
        ann_file='train.json',
        data_prefix=dict(img='images/'),
        novel_classes=novel_classes,
        language=language,
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
        ann_file='valid.json',
        data_prefix=dict(img='images/'),
        novel_classes=novel_classes,
        language=language,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(
    type='OpenVocabCocoMetric', ann_file=data_root + '/valid.json', classwise=True
)
test_evaluator = val_evaluator
