# Muon for the blocks' matrices, AdamW for the rest; warm-up, constant, linear decay.
max_iters, decay_from = 2000, 1000
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='AlignmentOptimWrapperConstructor',
    optimizer=dict(type='MuonAdamW', lr=1.5e-3, betas=(0.9, 0.98), weight_decay=0.05),
    paramwise_cfg=dict(muon=True, muon_lr_mult=4 / 3),
    clip_grad=dict(max_norm=2.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(
        type='LinearLR',
        start_factor=1.0,
        end_factor=0.02,
        by_epoch=False,
        begin=decay_from,
        end=max_iters,
    ),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=10**9)
