# Stage 2 for a tiny model, the end: the image tower alone learns. Texts are good by
# now, and cost nothing when their tower stands still.
_base_ = './fgclip2_tiny_stage2-fine_ovshapes.py'
max_iters, decay_from = 1500, 200
model = dict(
    encoder=dict(pretrained='work_dirs/fgclip2_tiny_stage2-fine_ovshapes/model'),
    freeze_text=True,
    losses=dict(tic=0.0),
)
train_dataloader = dict(sampler=dict(seed=3))
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=30),
    dict(
        type='LinearLR',
        start_factor=1.0,
        end_factor=0.02,
        by_epoch=False,
        begin=decay_from,
        end=max_iters,
    ),
]
