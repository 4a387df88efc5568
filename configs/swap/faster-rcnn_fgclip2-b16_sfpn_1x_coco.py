# MMDetection's Faster R-CNN with the FG-CLIP 2 backbone and a simple pyramid.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['fgclip2_det'], allow_failed_imports=False)
model = dict(
    data_preprocessor=dict(
        _delete_=True, type='FGCLIP2DetDataPreprocessor', pad_size_divisor=32),
    backbone=dict(
        _delete_=True, type='FGCLIP2ViT', encoder=dict(pretrained='qihoo360/fg-clip2-base')),
    neck=dict(
        _delete_=True, type='FGCLIP2SimpleFPN', in_channels=768, out_channels=256,
        num_outs=5))
