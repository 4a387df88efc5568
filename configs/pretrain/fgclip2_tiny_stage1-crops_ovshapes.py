# Stage 1 for a tiny model, first half: a picture is one object, 64 px, its caption the
# object's phrase. From scratch, shapes are learned far faster so than in whole scenes.
_base_ = [
    '../_base_/models/fgclip2-align_tiny.py',
    '../_base_/datasets/ovshapes_alignment.py',
    '../_base_/schedules/align_cpu.py',
    '../_base_/align_runtime.py',
]
max_iters = 800
model = dict(losses=dict(stage=1, short=1.0, long=0.0))
train_dataloader = dict(
    batch_size=64,  # images, of up to 6 objects each
    collate_fn=dict(max_num_patches=16),  # 64 px / 16 = 4 patches a side
    dataset=dict(view='objects', resize_to=64, max_anns=4),
)
train_cfg = dict(max_iters=max_iters)
param_scheduler = [  # no decay: the next stage goes on
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
]
custom_hooks = [
    dict(type='WhitenedPatchesHook'),
    dict(type='AlignmentThroughputHook'),
    dict(type='ExportFGCLIP2Hook'),
]
