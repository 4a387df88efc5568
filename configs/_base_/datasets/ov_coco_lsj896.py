# OV-COCO with large-scale jitter (Simple Copy-Paste, arXiv:2012.07177): scaled by 0.1
# to 2, cropped to 896 x 896. Evaluation keeps aspect ratios, at most 3,136 patches.
_base_ = './ov_coco.py'
image_size, max_num_patches = 896, 3136
train_pipeline = [
    dict(type='OpenVocabLoadImage'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='RandomResize',
        scale=(image_size, image_size),
        ratio_range=(0.1, 2.0),
        resize_type='Resize',
        keep_ratio=True,
    ),
    dict(
        type='RandomCrop',
        crop_size=(image_size, image_size),
        crop_type='absolute',
        recompute_bbox=True,
        allow_negative_crop=True,
    ),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-2, 1e-2), keep_empty=False),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='OpenVocabLoadImage'),
    dict(type='FGCLIP2Resize', max_num_patches=max_num_patches),
    dict(type='LoadAnnotations', with_bbox=True),  # after resizing: original pixels
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
