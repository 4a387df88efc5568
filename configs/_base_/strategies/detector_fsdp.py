# A detector's gradients and AdamW's state in shards; a transformer block is a unit.
# FULL_SHARD has the weights in shards, too. PyTorch's own; nothing to install.
runner_type = 'FlexibleRunner'
strategy = dict(
    type='FGCLIP2FSDPStrategy',
    model_wrapper=dict(
        type='MMFullyShardedDataParallel',
        sharding_strategy='SHARD_GRAD_OP',
        auto_wrap_policy='fgclip2_det.engine.strategies.wrap_blocks',
        sync_module_states=True,
        use_orig_params=True,  # frozen and trained weights share a shard
    ),
)
