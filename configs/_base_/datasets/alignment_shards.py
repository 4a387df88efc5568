# The same records, packed by tools/convert_to_shards.py: sequential reading, for
# network disks and for more images than a file system likes.
tokenizer = 'google/siglip2-base-patch16-naflex'  # hub id or folder; all sizes share it
data_root = '{{$ALIGN_SHARDS:data/finehard_shards}}'
train_dataloader = dict(
    batch_size=1,  # an item of the data set is a whole batch
    num_workers=8,
    prefetch_factor=2,
    persistent_workers=True,
    pin_memory=True,
    sampler=None,
    collate_fn=dict(
        type='AlignmentCollate', tokenizer=tokenizer, max_num_patches='auto'
    ),
    dataset=dict(
        type='ShardDataset',
        shards=data_root,
        batch_size=256,  # images per process
        shuffle_buffer=10000,
        infinite=True,
        expr='random',
        max_anns=4,
        short_prefix='a photo of ',
        bad_records='skip',
    ),
)
