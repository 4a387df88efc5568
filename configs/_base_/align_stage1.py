# Stage 1: the sigmoid loss alone, of short and long captions. Records need no boxes.
_base_ = [
    './models/fgclip2-align_b16.py',
    './schedules/align_1e.py',
    './align_runtime.py',
]
model = dict(losses=dict(stage=1))
default_hooks = dict(
    logger=dict(interval=10), checkpoint=dict(interval=500, max_keep_ckpts=3)
)
custom_hooks = [
    dict(type='AlignmentThroughputHook'),
    dict(type='ShardProgressHook'),  # for shards; nothing to do elsewhere
    dict(type='ExportFGCLIP2Hook'),  # work_dir/model
]
