# MMDetection's Mask2Former: levels of stride 4 to 32. Its ResNet has no neck to delete;
# the encoder learns at 1e-5.
_base_ = 'mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py'
custom_imports = dict(imports=['fgclip2_det.registration'], allow_failed_imports=False)
model = dict(
    data_preprocessor=dict(
        _delete_=True,
        type='FGCLIP2DetDataPreprocessor',
        pad_size_divisor=32,
        pad_mask=True,
        batch_augments=_base_.batch_augments,
    ),
    backbone=dict(
        _delete_=True,
        type='FGCLIP2ViT',
        encoder=dict(pretrained='qihoo360/fg-clip2-base'),
    ),
    neck=dict(type='FGCLIP2SimpleFPN', in_channels=768, out_channels=256, num_outs=4),
    panoptic_head=dict(in_channels=[256] * 4),
)
