# 144 x 128 = 18,432 images a step; 132,922 steps are an epoch of 2,450 M. The
# paper's 160 devices do not divide its 18,432.
_base_ = ['../_base_/align_stage1.py', '../_base_/datasets/alignment_shards.py']
max_iters = 132922
train_cfg = dict(max_iters=max_iters)
weights = 'google/siglip2-so400m-patch16-naflex'
model = dict(encoder=dict(siglip2=weights))
data_root = 'data/pairs_shards'
train_dataloader = dict(dataset=dict(shards=data_root, batch_size=128, max_anns=0))
