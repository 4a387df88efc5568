# What R2D2's fine-tuning for matching sets: ranking alone, cross entropy of mean
# probabilities, AdamW 3e-6 in triangles from 0.05 of it, biases at twice the rate
# without decay, the visual encoder frozen. Records hold no labelled mismatches, as ICM
# and IQM have them: negatives are drawn here, and only ICM's matches are of use.
_base_ = ['../_base_/align_r2d2.py']
data_root = 'data/icm'
max_iters = 15625  # 20 epochs of 400,000 pairs in steps of 8 x 64
model = dict(
    freeze_vision=True,
    losses=dict(pre_ranking=0.0, double_softmax=True, class_weights=(1.0, 1.0)),
)
train_cfg = dict(max_iters=max_iters)
train_dataloader = dict(
    batch_size=64,
    dataset=dict(ann=f'{data_root}/jsonfiles', image_root=f'{data_root}/images'),
)
param_scheduler = [
    dict(type='TriangularLR', low=0.05, step_size_up=3125, by_epoch=False, begin=0)
]
optim_wrapper = dict(
    optimizer=dict(
        _delete_=True, type='AdamW', lr=3e-6, betas=(0.9, 0.999), weight_decay=0.01
    ),
    paramwise_cfg=dict(bias_lr_mult=2.0),
)
