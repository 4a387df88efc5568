# The default with DeepSpeed's ZeRO-2.
_base_ = ['./ovd_fgclip2_3e.py', '../_base_/strategies/detector_zero2.py']
train_dataloader = dict(batch_size=2)  # 2 processes x 2 = 4 images a step
optim_wrapper = dict(
    _delete_=True,
    type='DeepSpeedOptimWrapper',
    optimizer=dict(type='AdamW', lr=7e-4, weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys=dict(  # the classifier's temperature and bias, as in open_clip
            logit_scale=dict(decay_mult=0.0), logit_bias=dict(decay_mult=0.0)
        ),
    ),
)
