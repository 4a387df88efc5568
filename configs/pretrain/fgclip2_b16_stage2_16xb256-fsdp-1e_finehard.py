# Optimizer and gradients in shards over the 16 processes, with PyTorch's FSDP.
_base_ = ['./fgclip2_b16_stage2_16xb256-1e_finehard.py', '../_base_/strategies/fsdp.py']
