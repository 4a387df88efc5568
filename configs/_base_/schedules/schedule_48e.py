# 48 epochs on OV-LVIS, as F-ViT (CLIPSelf, arXiv:2310.01403); the rate falls where
# F-VLM's does, at 0.8, 0.9 and 0.95 of the run
_base_ = './schedule_3e.py'
train_cfg = dict(max_epochs=48, val_interval=8)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=250),
    dict(
        type='MultiStepLR',
        by_epoch=True,
        begin=0,
        end=48,
        milestones=[38, 43, 46],
        gamma=0.1,
    ),
]
