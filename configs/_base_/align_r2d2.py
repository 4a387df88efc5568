# R2D2's training: pairs of whole images and captions, at 256 patches an image, which is
# what the joint encoders read. Records need no boxes.
_base_ = [
    './models/r2d2_b16.py',
    './schedules/align_1e.py',
    './align_runtime.py',
    './datasets/alignment_records.py',
]
data_root = 'data/pairs'
train_dataloader = dict(
    collate_fn=dict(max_num_patches=256),
    dataset=dict(
        ann=f'{data_root}/jsonfiles',
        image_root=f'{data_root}/images',
        max_anns=0,
        short_prefix='',
    ),
)
default_hooks = dict(
    logger=dict(interval=10), checkpoint=dict(interval=500, max_keep_ckpts=3)
)
custom_hooks = [
    dict(type='AlignmentThroughputHook'),
    dict(type='ExportFGCLIP2Hook'),  # work_dir/model
    dict(type='ExportRankerHook'),  # work_dir/ranker, of that encoder
]
