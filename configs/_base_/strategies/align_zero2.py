# The paper's optimizer under DeepSpeed, which steps it. A config that has one already
# takes this in its place: optim_wrapper = {{_base_.zero2_optim_wrapper}}
_base_ = './deepspeed_zero2.py'
zero2_optim_wrapper = dict(
    _delete_=True,
    type='DeepSpeedOptimWrapper',
    constructor='AlignmentOptimWrapperConstructor',
    optimizer=dict(
        type='AdamW', lr=1e-6, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.001
    ),
)
