# R2D2's fine-tuning for retrieval, as its script and config have it: AdamW, 1e-5 after
# 500 steps from 1e-6, weight decay 0.05, the visual encoder frozen, pre-ranking plus
# ranking. The script's cosine falls once an epoch, this one every step. ICR and IQR: 10
# epochs. A record for each caption; five of them name the same image.
_base_ = ['../_base_/align_r2d2.py']
data_root = 'data/flickr30k_cna'
max_iters = 11320  # 20 epochs of 29,000 images with 5 captions in steps of 8 x 32
model = dict(freeze_vision=True)
train_cfg = dict(max_iters=max_iters)
train_dataloader = dict(
    batch_size=32,
    dataset=dict(
        ann=f'{data_root}/jsonfiles',
        image_root=f'{data_root}/images',
        augment=dict(crop=(0.5, 1.0), flip=True, rand_augment=(2, 5)),
    ),
)
param_scheduler = [  # end and T_max of the cosine follow train_cfg.max_iters
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=500),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=500),
]
optim_wrapper = dict(
    optimizer=dict(
        _delete_=True, type='AdamW', lr=1e-5, betas=(0.9, 0.999), weight_decay=0.05
    ),
)
