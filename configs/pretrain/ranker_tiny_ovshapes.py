# A ranker of regions for the embedded encoder, which stays as it is: boxes of OVShapes'
# scenes at 384 px with a true name or phrase and four false ones.
_base_ = [
    '../_base_/datasets/ovshapes_alignment.py',
    '../_base_/align_runtime.py',
]
max_iters, warm_up, decay_from = 1000, 50, 500
model = dict(
    type='FGCLIP2RegionRanker',
    encoder=dict(pretrained='fgclip2_tiny'),
    ranker=dict(num_hidden_layers=2, sides='text'),
    matching=0.3,
    choice=1.0,
    num_negatives=4,
    temperature=0.3,  # easy texts, too: the encoder tells the others apart already
    own_share=0.0,  # not the hard negatives alone
    autocast='auto',  # bfloat16 where the CPU multiplies it
    data_preprocessor=dict(type='AlignmentDataPreprocessor'),
)
train_dataloader = dict(
    batch_size=16,  # some 64 regions
    collate_fn=dict(max_num_patches=576),
    dataset=dict(num_images=3000),
)
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='AlignmentOptimWrapperConstructor',
    optimizer=dict(type='MuonAdamW', lr=2e-3, betas=(0.9, 0.98), weight_decay=0.05),
    paramwise_cfg=dict(muon=True, muon_lr_mult=4 / 3),
    clip_grad=dict(max_norm=2.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, by_epoch=False, begin=0, end=warm_up),
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
custom_hooks = [
    dict(type='AlignmentThroughputHook'),
    dict(type='ExportRankerHook'),  # work_dir/ranker
]
