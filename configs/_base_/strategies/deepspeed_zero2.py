# DeepSpeed's ZeRO-2, with the paper's mixed precision: the model in bfloat16, AdamW on
# float32 copies of its shard. MMEngine 0.10 needs 'deepspeed<0.18' (0.17.6 was tried;
# it imports a module that 0.19 has no more).
runner_type = 'FlexibleRunner'
strategy = dict(
    type='DeepSpeedStrategy',
    bf16=dict(enabled=True),
    zero_optimization=dict(  # as in the released zero2.json
        stage=2,
        overlap_comm=True,
        contiguous_gradients=True,
        sub_group_size=10**9,
        reduce_bucket_size=5 * 10**8,
    ),
)
