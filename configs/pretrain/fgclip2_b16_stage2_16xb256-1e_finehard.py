# 16 x 256 = 4,096 images a step (section 4.1).
# 12 M English + 12 M Chinese images: 5,860 steps are an epoch.
_base_ = ['../_base_/align_stage2.py', '../_base_/datasets/alignment_records.py']
max_iters = 5860
train_cfg = dict(max_iters=max_iters)
weights = 'work_dirs/fgclip2_b16_stage1_160xb384-1e_pairs-shards/model'
model = dict(encoder=dict(pretrained=weights))
train_dataloader = dict(batch_size=256)
