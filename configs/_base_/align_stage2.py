# Stage 2: captions, regions and hard negatives, from the model of stage 1, which the
# configs' `weights` name: --cfg-options weights=work_dirs/STAGE_1/model
_base_ = [
    './models/fgclip2-align_b16.py',
    './schedules/align_1e.py',
    './align_runtime.py',
]
model = dict(
    encoder=dict(
        _delete_=True,
        pretrained='work_dirs/stage1/model',
        copy_heads=('dense', 'box'),  # they start as the global heads, as released
    )
)
default_hooks = dict(
    logger=dict(interval=10), checkpoint=dict(interval=500, max_keep_ckpts=3)
)
custom_hooks = [
    dict(type='AlignmentThroughputHook'),
    dict(type='ShardProgressHook'),  # for shards; nothing to do elsewhere
    dict(type='ExportFGCLIP2Hook'),  # work_dir/model
]
