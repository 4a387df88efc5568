# FG-CLIP 1's second stage from CLIP, as its script has it: 8 x 512 = 4,096 images a
# step, one epoch of 12 M English images, their first four boxes, 1e-6 after 200 steps,
# then a cosine. Betas and eps are FG-CLIP 2's. Stage 1's rate and batch are not
# published.
_base_ = [
    '../_base_/models/fgclip1-align_b16.py',
    '../_base_/schedules/align_1e.py',
    '../_base_/align_runtime.py',
    '../_base_/datasets/alignment_records.py',
]
max_iters = 2930
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=200),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=200),
]
weights = 'openai/clip-vit-base-patch16'
tokenizer = 'openai/clip-vit-base-patch16'
model = dict(encoder=dict(clip=weights))
train_dataloader = dict(
    batch_size=512,
    dataset=dict(ann_choice='first'),
    collate_fn=dict(
        _delete_=True,
        type='AlignmentCollate',
        version=1,
        tokenizer=tokenizer,
        grid_side=14,  # 224 px, squashed
        patch_size=16,
    ),
)
