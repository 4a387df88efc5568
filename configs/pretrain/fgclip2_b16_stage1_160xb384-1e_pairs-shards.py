# 160 x 384 = 61,440 images a step; 39,877 steps are an epoch of 2,450 M images.
_base_ = ['../_base_/align_stage1.py', '../_base_/datasets/alignment_shards.py']
max_iters = 39877
train_cfg = dict(max_iters=max_iters)
data_root = 'data/pairs_shards'
train_dataloader = dict(
    dataset=dict(shards=data_root, batch_size=384, max_anns=0))
