# The default in shards: torchrun --nproc-per-node 2 tools/train.py THIS
# --launcher pytorch; on CPUs, too.
_base_ = ['./ovd_fgclip2_3e.py', '../_base_/strategies/detector_fsdp.py']
train_dataloader = dict(batch_size=2)  # 2 processes x 2 = 4 images a step
