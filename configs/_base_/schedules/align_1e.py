# FG-CLIP 2 (arXiv:2510.10921), section 4.1: AdamW, one epoch, 300 warm-up iterations;
# the cosine and eps are the released script's. Neither names a limit of the gradient's
# norm. One epoch is counted in iterations, so that a run that was killed goes on at its
# sample.
max_iters = 5860  # 24 M images in steps of 4,096
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=10**9)
param_scheduler = [  # end and T_max of the cosine follow train_cfg.max_iters
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=300),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=300),
]
optim_wrapper = dict(
    type='AmpOptimWrapper',  # weights and AdamW's state stay float32
    dtype='bfloat16',
    loss_scale=1.0,  # bfloat16 has float32's range
    constructor='AlignmentOptimWrapperConstructor',
    optimizer=dict(
        type='AdamW', lr=1e-6, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.001
    ),
)
