# Stage 2 for a tiny model, between single objects and scenes: parts of a scene, 96 px,
# that show an object about as large as a 256-px scene does, at the positions it has
# there.
_base_ = './fgclip2_tiny_stage2-crops_ovshapes.py'
max_iters = 1000
model = dict(
    encoder=dict(
        pretrained='work_dirs/fgclip2_tiny_stage2-crops_ovshapes/model', copy_heads=()
    )
)
train_dataloader = dict(
    collate_fn=dict(max_num_patches=36),
    dataset=dict(resize_to=96, context=(1.25, 3.0), jitter=0.2, position_grid=16),
)
train_cfg = dict(max_iters=max_iters)
