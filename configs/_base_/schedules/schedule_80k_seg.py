# Cat-Seg's, as FG-CLIP 2's table B lists it: 80,000 steps of 8 images, AdamW 2e-4 with
# a cosine (its warm-up has 0 steps in Cat-Seg), the encoder at 0.01 of it
max_iters = 80_000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=10_000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-4, weight_decay=1e-4),
    clip_grad=dict(max_norm=0.01),
    paramwise_cfg=dict(
        norm_decay_mult=0.0, custom_keys=dict(backbone=dict(lr_mult=0.01))
    ),
)
param_scheduler = [
    dict(
        type='CosineAnnealingLR',
        by_epoch=False,
        begin=0,
        end=max_iters,
        T_max=max_iters,
        eta_min=0.0,
    ),
]
auto_scale_lr = dict(enable=False, base_batch_size=8)
