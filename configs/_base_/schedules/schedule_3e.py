# F-ViT on OV-COCO (CLIPSelf, arXiv:2310.01403): 3 epochs, AdamW 1e-4, decay 0.1
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=3, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.1),
    clip_grad=dict(max_norm=1.0),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys=dict(  # the classifier's temperature and bias, as in open_clip
            logit_scale=dict(decay_mult=0.0), logit_bias=dict(decay_mult=0.0)
        ),
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=250),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=3, milestones=[2], gamma=0.1),
]
auto_scale_lr = dict(enable=False, base_batch_size=64)  # 8 GPUs x 8 images
