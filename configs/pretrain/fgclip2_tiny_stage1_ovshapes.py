# Stage 1 for a tiny model, second half: whole scenes at 128 px with their short and
# long captions, from the model of the first half.
_base_ = [
    '../_base_/models/fgclip2-align_tiny.py',
    '../_base_/datasets/ovshapes_alignment.py',
    '../_base_/schedules/align_cpu.py',
    '../_base_/align_runtime.py',
]
max_iters, decay_from = 500, 300
model = dict(
    encoder=dict(
        _delete_=True,
        pretrained='work_dirs/fgclip2_tiny_stage1-crops_ovshapes/model',
        copy_heads=('long',),
    ),
    losses=dict(stage=1, short=1.0, long=1.0),
)
train_dataloader = dict(
    batch_size=32,
    collate_fn=dict(max_num_patches=64),  # 128 px / 16 = 8 patches a side
    dataset=dict(resize_to=128, max_anns=0),
)
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(
        type='LinearLR',
        start_factor=1.0,
        end_factor=0.5,
        by_epoch=False,
        begin=decay_from,
        end=max_iters,
    ),
]
