# Gradients and AdamW's state in shards, as ZeRO-2 has them; a block is a unit.
# FULL_SHARD has the weights in shards, too. PyTorch's own; nothing to install.
runner_type = 'FlexibleRunner'
strategy = dict(
    type='AlignmentFSDPStrategy',
    model_wrapper=dict(
        type='MMFullyShardedDataParallel',
        sharding_strategy='SHARD_GRAD_OP',
        auto_wrap_policy='pretrain.sharding.wrap_blocks',
        use_orig_params=True,
    ),
    state_dict_cfg='full',  # a checkpoint is one file, as DDP writes it
)
