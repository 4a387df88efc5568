# Stage 2 for a tiny model, at the end: scenes that hold twelve colours more than the 80
# classes have, each with all ten shapes, so that a shape is known whatever its colour.
# Novel pairs are neither drawn nor named. FGT weighs five times FGV, as in the paper:
# FGV also teaches which shapes a colour comes with.
_base_ = './fgclip2_tiny_stage2_ovshapes.py'
max_iters, decay_from = 2000, 600
num_images = 20000
model = dict(
    encoder=dict(pretrained='work_dirs/fgclip2_tiny_stage2_ovshapes/model'),
    losses=dict(fgv=0.2, fgt=1.0))
train_dataloader = dict(dataset=dict(num_images=num_images, extra_colors=True))
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(
        type='LinearLR', start_factor=1.0, end_factor=0.02, by_epoch=False,
        begin=decay_from, end=max_iters),
]
