# Stage 2 for a tiny model, in finer patches: the 256-px scenes enlarged to 320 px, so that
# fewer patches hold parts of two objects.
_base_ = './fgclip2_tiny_stage2-colors_ovshapes.py'
max_iters, decay_from = 600, 150
model = dict(
    encoder=dict(
        pretrained='work_dirs/fgclip2_tiny_stage2-colors_ovshapes/model', copy_heads=()))
train_dataloader = dict(collate_fn=dict(max_num_patches=400))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=30),
    dict(
        type='LinearLR', start_factor=1.0, end_factor=0.02, by_epoch=False,
        begin=decay_from, end=max_iters),
]
