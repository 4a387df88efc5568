# A tiny ranker for the embedded encoder on OVShapes: whole scenes of 128 px and short
# captions, which name up to three of the things in them. One process, minutes on a
# CPU, where the joint encoders are faster in float32 than in bfloat16.
_base_ = [
    '../_base_/datasets/ovshapes_alignment.py',
    '../_base_/align_runtime.py',
]
max_iters, warm_up = 500, 40
model = dict(
    type='R2D2Alignment',
    encoder=dict(pretrained='fgclip2_tiny'),
    losses=dict(preset='fine_tuning', same_text=True),
    ranker=dict(num_hidden_layers=2),
    captions='short',
    freeze_vision=True,
    data_preprocessor=dict(type='AlignmentDataPreprocessor'),
)
train_dataloader = dict(
    batch_size=32,
    collate_fn=dict(max_num_patches=64),
    dataset=dict(resize_to=128, max_anns=0),
)
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='AlignmentOptimWrapperConstructor',
    optimizer=dict(type='MuonAdamW', lr=1e-3, betas=(0.9, 0.98), weight_decay=0.05),
    paramwise_cfg=dict(muon=True, muon_lr_mult=2.0),
    clip_grad=dict(max_norm=2.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=warm_up),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=warm_up),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=10**9)
custom_hooks = [
    dict(type='AlignmentThroughputHook'),
    dict(type='ExportFGCLIP2Hook'),  # work_dir/model, its texts have learned, too
    dict(type='ExportRankerHook'),  # work_dir/ranker
]
