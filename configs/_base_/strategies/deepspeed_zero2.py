# DeepSpeed's ZeRO-2 (pip install deepspeed), with the paper's mixed precision: the model
# in bfloat16, AdamW on float32 copies of its shard.
runner_type = 'FlexibleRunner'
strategy = dict(
    type='DeepSpeedStrategy',
    bf16=dict(enabled=True),
    zero_optimization=dict(  # as spec of the released zero2.json
        stage=2,
        overlap_comm=True,
        contiguous_gradients=True,
        sub_group_size=10**9,
        reduce_bucket_size=5 * 10**8))
