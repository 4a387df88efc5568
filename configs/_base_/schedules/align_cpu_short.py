# align_cpu.py in 1,200 steps.
_base_ = './align_cpu.py'
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=60),
    dict(
        type='LinearLR',
        start_factor=1.0,
        end_factor=0.02,
        by_epoch=False,
        begin=600,
        end=1200,
    ),
]
train_cfg = dict(max_iters=1200)
