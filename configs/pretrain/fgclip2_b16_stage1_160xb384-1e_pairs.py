# 160 x 384 = 61,440 images a step (section 4.1). LAION-2B-enhanced 1,600 M + Wukong
# 100 M + Zero 250 M + in-house 500 M = 2,450 M images: 39,877 steps are an epoch.
_base_ = ['../_base_/align_stage1.py', '../_base_/datasets/alignment_records.py']
max_iters = 39877
train_cfg = dict(max_iters=max_iters)
data_root = 'data/pairs'
train_dataloader = dict(
    batch_size=384,
    dataset=dict(
        ann=f'{data_root}/jsonfiles', image_root=f'{data_root}/images', max_anns=0
    ),
)
