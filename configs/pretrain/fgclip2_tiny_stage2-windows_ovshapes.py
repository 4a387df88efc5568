# Stage 2 for a tiny model, between single objects and scenes: the same views, somewhat
# wider, each at the positions of a random part of a 16 x 16 scene.
_base_ = './fgclip2_tiny_stage2-crops_ovshapes.py'
max_iters = 500
model = dict(
    encoder=dict(
        pretrained='work_dirs/fgclip2_tiny_stage2-crops_ovshapes/model', copy_heads=()))
train_dataloader = dict(dataset=dict(context=1.5, jitter=0.25, position_grid=16))
train_cfg = dict(max_iters=max_iters)
