# With an average of the weights, which is what work_dir/model and checkpoints then
# hold. Neither paper nor script has one.
_base_ = './fgclip2_b16_stage2_16xb256-1e_finehard.py'
custom_hooks = [
    dict(type='EMAHook', ema_type='AlignmentEMA', momentum=1e-3),
    dict(type='AlignmentThroughputHook'),
    dict(type='ShardProgressHook'),
    dict(type='ExportFGCLIP2Hook'),
]
