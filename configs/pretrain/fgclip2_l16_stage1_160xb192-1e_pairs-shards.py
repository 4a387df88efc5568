# 160 x 192 = 30,720 images a step; 79,753 steps are an epoch of 2,450 M.
# There is no SigLIP 2 large for flexible sizes; the one for 256 px has as many
# positions.
_base_ = ['../_base_/align_stage1.py', '../_base_/datasets/alignment_shards.py']
max_iters = 79753
train_cfg = dict(max_iters=max_iters)
weights = 'google/siglip2-large-patch16-256'
model = dict(encoder=dict(siglip2=weights))
data_root = 'data/pairs_shards'
train_dataloader = dict(dataset=dict(shards=data_root, batch_size=192, max_anns=0))
