# R2D2's pre-training in our reading: target-guided pre-ranking with queues, ranking,
# masked words and features of masked texts, equally weighted. The paper's batch,
# schedule and weights are not known; 23 M pairs are the middle one of its sets.
_base_ = ['../_base_/align_r2d2.py']
max_iters = 11231  # 23 M pairs in steps of 32 x 64
alpha_steps = 2000  # the teacher's share of targets grows from 0
model = dict(losses=dict(preset='pre_training', alpha_steps=alpha_steps))
train_cfg = dict(max_iters=max_iters)
train_dataloader = dict(batch_size=64)
param_scheduler = [  # end and T_max of the cosine follow train_cfg.max_iters
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=1000),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=1000),
]
optim_wrapper = dict(optimizer=dict(lr=5e-5, weight_decay=0.05))
