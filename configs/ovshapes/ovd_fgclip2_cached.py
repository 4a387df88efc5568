# The embedded default, whose frozen encoder runs once over the training pictures: two
# views each, plain and mirrored, in a folder of 0.4 GB (or FEATURE_CACHE).
_base_ = './ovd_fgclip2_3e.py'
max_num_patches = 400
train_pipeline = [
    dict(type='FGCLIP2LoadView', max_num_patches=max_num_patches, flip=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='FGCLIP2ApplyView'),
    dict(type='FGCLIP2PackView'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='FGCLIP2FeatureCacheHook',
        folder='{{$FEATURE_CACHE:work_dirs/features/ovshapes}}',
    ),
]
