# The embedded default: trains on OVShapes on a CPU in minutes, without downloads.
_base_ = [
    './_base_/models/fgclip2-det_tiny_sfpn.py',
    './_base_/datasets/ovshapes.py',
    './_base_/schedules/schedule_cpu.py',
    './_base_/default_runtime.py',
]
# Images are not mirrored: OVShapes places its objects at random, so that mirrored ones
# are no new look, and a short training has enough of them.
train_pipeline = [
    dict(type='OpenVocabLoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='FGCLIP2Resize', max_num_patches=_base_.max_num_patches),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
# A frozen encoder bears a high rate: two epochs come near to three at 7e-4
# (ovshapes/ovd_fgclip2_3e.py, docs/speed.md).
max_epochs = 2
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        by_epoch=True,
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min_ratio=0.02,
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(max_keep_ckpts=2))
log_processor = dict(window_size=25)
