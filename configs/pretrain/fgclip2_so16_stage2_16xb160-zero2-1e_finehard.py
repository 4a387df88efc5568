# The same with DeepSpeed's ZeRO-2, as the paper trained.
_base_ = [
    './fgclip2_so16_stage2_16xb160-1e_finehard.py',
    '../_base_/strategies/align_zero2.py',
]
optim_wrapper = {{_base_.zero2_optim_wrapper}}
