# 16 x 160 = 2,560 images a step (section 4.1).
# 12 M English + 12 M Chinese images: 9,375 steps are an epoch.
_base_ = ['../_base_/align_stage2.py', '../_base_/datasets/alignment_records.py']
max_iters = 9375
train_cfg = dict(max_iters=max_iters)
weights = 'work_dirs/fgclip2_so16_stage1_144xb128-1e_pairs-shards/model'
model = dict(encoder=dict(pretrained=weights))
train_dataloader = dict(batch_size=160)
