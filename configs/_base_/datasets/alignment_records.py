# Records in FineHARD's form (docs/pretrain.md), from .json or .jsonl files, a folder of
# them, or a .txt that lists them. Only 17 bytes a record are kept in memory.
tokenizer = 'google/siglip2-base-patch16-naflex'  # hub id or folder; all sizes share it
data_root = '{{$ALIGN_ROOT:data/finehard}}'
train_dataloader = dict(
    batch_size=256,  # images per process
    # In a process wait num_workers x prefetch_factor batches. At 1024 patches of 768
    # float32 an image takes 3.1 MB: 8 x 2 x 256 of them 12.9 GB.
    num_workers=8,
    prefetch_factor=2,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='BilingualSampler', infinite=True),  # the run's seed
    batch_sampler=dict(type='BilingualBatchSampler'),
    # 'auto': 128, 256, 576, 784 or 1024 patches, by the largest image of the step
    collate_fn=dict(
        type='AlignmentCollate', tokenizer=tokenizer, max_num_patches='auto'
    ),
    dataset=dict(
        type='AlignmentDataset',
        ann=f'{data_root}/jsonfiles',
        image_root=f'{data_root}/images',
        expr='random',  # of short_expr and long_expr
        max_anns=4,
        short_prefix='a photo of ',  # English short captions, as released
        bad_records='skip',  # counted, and logged
    ),
)
