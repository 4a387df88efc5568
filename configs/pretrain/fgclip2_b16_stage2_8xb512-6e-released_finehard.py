# The released script: stage 2 from SigLIP 2 (--from_siglip2), 8 x 512 = 4,096 images a
# step, 6 epochs of 24 M images = 35,157 steps, 3 % of them warm-up, first four boxes,
# all weights and forms of the released losses. Its Chinese records have no boxes: leave
# them out of yours to repeat that.
_base_ = ['../_base_/align_stage2.py', '../_base_/datasets/alignment_records.py']
max_iters, warm_up = 35157, 1055
weights = 'google/siglip2-base-patch16-naflex'
model = dict(
    encoder=dict(_delete_=True, siglip2=weights),  # all heads are copies then
    losses=dict(preset='released'),
)
train_dataloader = dict(batch_size=512, dataset=dict(ann_choice='first'))
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=warm_up),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=warm_up),
]
