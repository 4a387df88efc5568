# 160 x 384 = 61,440 images a step (section 4.1). LAION-2B-enhanced 1,600 M + Wukong
# 100 M + Zero 250 M + in-house 500 M = 2,450 M images: 39,877 steps are an epoch.
_base_ = ['../_base_/align_stage1.py', '../_base_/datasets/alignment_shards.py']
max_iters = 39877
train_cfg = dict(max_iters=max_iters)
data_root = 'data/pairs_shards'
train_dataloader = dict(dataset=dict(shards=data_root, batch_size=384, max_anns=0))
