# Stage 2 for a tiny model, in finer patches: the 256-px scenes enlarged to 384 px, so
# that fewer patches hold parts of two objects.
_base_ = './fgclip2_tiny_stage2_ovshapes.py'
max_iters, decay_from = 800, 400
model = dict(encoder=dict(pretrained='work_dirs/fgclip2_tiny_stage2_ovshapes/model'))
train_dataloader = dict(
    sampler=dict(seed=2),  # another order of the same scenes
    collate_fn=dict(max_num_patches=576),
)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=30),
    dict(
        type='LinearLR',
        start_factor=1.0,
        end_factor=0.5,
        by_epoch=False,
        begin=decay_from,
        end=max_iters,
    ),
]
