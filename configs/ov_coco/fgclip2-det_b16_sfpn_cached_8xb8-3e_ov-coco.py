# The frozen encoder runs once over the training pictures, two budgets of patches plain
# and mirrored; every epoch then trains from FEATURE_CACHE. Four passes a picture cost
# more than one training of 3 epochs: it pays from the second training on, with other
# heads, losses or seeds. 107,761 pictures x 2 x (784 + 1,024) patches x 1,536 bytes are
# 599 GB.
_base_ = './fgclip2-det_b16_sfpn_8xb8-3e_ov-coco.py'
train_pipeline = [
    dict(type='FGCLIP2LoadView', max_num_patches=[784, 1024], flip=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='FGCLIP2ApplyView'),
    dict(type='FGCLIP2PackView'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='FGCLIP2FeatureCacheHook',
        folder='{{$FEATURE_CACHE:work_dirs/features/ov_coco_b16}}',
        num_workers=4,
    ),
]
