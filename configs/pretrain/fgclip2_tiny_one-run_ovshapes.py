# A tiny FG-CLIP 2 from random weights with the released losses, in one run: what
# fgclip1_tiny_stage2_ovshapes.py is for FG-CLIP 1. Scenes of 14 x 14 patches.
_base_ = [
    '../_base_/models/fgclip2-align_tiny.py',
    '../_base_/datasets/ovshapes_alignment.py',
    '../_base_/schedules/align_cpu_short.py',
    '../_base_/align_runtime.py',
]
model = dict(losses=dict(preset='released'))
train_dataloader = dict(
    batch_size=16,
    collate_fn=dict(max_num_patches=196),
    dataset=dict(num_images=12000),
)
