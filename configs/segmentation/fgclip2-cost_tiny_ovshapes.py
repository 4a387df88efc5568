# Open-vocabulary segmentation of OVShapes: Cat-Seg's decoder on the frozen embedded
# encoder, for one core. With --cfg-options model.zero_shot=True, tools/test.py measures
# the dense map alone on the same images.
_base_ = [
    '../_base_/models/fgclip2-cost_tiny.py',
    '../_base_/datasets/ovshapes_seg.py',
    '../_base_/schedules/schedule_cpu.py',
    '../_base_/default_runtime.py',
]
model = dict(background_label={{_base_.background_label}})
max_epochs = 1  # 500 steps
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
optim_wrapper = dict(
    optimizer=dict(lr=2e-3, weight_decay=1e-4), paramwise_cfg=dict(_delete_=True)
)
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
