# Boxes of a COCO file as regions, made by tools/coco_to_records.py; no captions.
data_root = '{{$CHESS_ROOT:data/chess}}'
records = 'data/chess_records'  # folder of train_en.json, train_zh.json
seed = 0
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='BilingualSampler', seed=seed, infinite=True),
    batch_sampler=dict(type='BilingualBatchSampler'),
    collate_fn=dict(type='AlignmentCollate', max_num_patches=1024),
    dataset=dict(
        type='AlignmentDataset',
        ann=records,
        image_root=data_root + '/images',
        max_anns=None,
    ),
)
