# The same with DeepSpeed's ZeRO-2, as the paper trained.
_base_ = [
    './fgclip2_b16_stage2_16xb256-1e_finehard.py',
    '../_base_/strategies/align_zero2.py',
]
optim_wrapper = {{_base_.zero2_optim_wrapper}}
