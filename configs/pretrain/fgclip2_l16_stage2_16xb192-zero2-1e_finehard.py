# The same with DeepSpeed's ZeRO-2, as the paper trained. DeepSpeed steps the optimizer.
_base_ = [
    './fgclip2_l16_stage2_16xb192-1e_finehard.py',
    '../_base_/strategies/deepspeed_zero2.py'
]
optim_wrapper = dict(
    _delete_=True,
    type='DeepSpeedOptimWrapper',
    constructor='AlignmentOptimWrapperConstructor',
    optimizer=dict(
        type='AdamW', lr=1e-6, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.001))
