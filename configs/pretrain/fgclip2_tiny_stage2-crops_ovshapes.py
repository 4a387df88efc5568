# Stage 2 for a tiny model, its first part: regions and hard negatives on single
# objects, 64 px.
_base_ = [
    '../_base_/models/fgclip2-align_tiny.py',
    '../_base_/datasets/ovshapes_alignment.py',
    '../_base_/schedules/align_cpu.py',
    '../_base_/align_runtime.py',
]
max_iters = 1200
model = dict(
    encoder=dict(
        _delete_=True,
        pretrained='work_dirs/fgclip2_tiny_stage1_ovshapes/model',
        copy_heads=('dense', 'box'),  # as the released script starts stage 2
    ),
    losses=dict(short=0.0, long=0.0),  # captions come with the whole scenes
)
train_dataloader = dict(
    batch_size=64,
    collate_fn=dict(max_num_patches=16),
    dataset=dict(view='objects', resize_to=64, max_anns=4),
)
train_cfg = dict(max_iters=max_iters)
param_scheduler = [  # no decay: the next stage goes on
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
]
