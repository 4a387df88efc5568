# Stage 2 for a tiny model, whole scenes at 256 px with their captions, regions and hard
# negatives. FGT weighs five times FGV, as in the paper: FGV compares a region with
# phrases of other colours, and so also teaches which shapes a colour comes with.
_base_ = [
    '../_base_/models/fgclip2-align_tiny.py',
    '../_base_/datasets/ovshapes_alignment.py',
    '../_base_/schedules/align_cpu.py',
    '../_base_/align_runtime.py',
]
max_iters, decay_from = 1500, 800
model = dict(
    encoder=dict(
        _delete_=True, pretrained='work_dirs/fgclip2_tiny_stage2-windows_ovshapes/model'
    ),
    losses=dict(fgv=0.2, fgt=1.0),
)
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(
        type='LinearLR',
        start_factor=1.0,
        end_factor=0.3,
        by_epoch=False,
        begin=decay_from,
        end=max_iters,
    ),
]
