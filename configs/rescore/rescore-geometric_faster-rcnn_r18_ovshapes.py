# Training-free: the Faster R-CNN beside this file, its scores fused with FG-CLIP 2's.
#   tools/train.py configs/rescore/faster-rcnn_r18_ovshapes.py
#   tools/test.py THIS work_dirs/faster-rcnn_r18_ovshapes/epoch_6.pth
_base_ = './faster-rcnn_r18_ovshapes.py'
model = dict(
    _delete_=True,
    type='FGCLIP2Rescorer',
    detector={{_base_.model}},
    encoder=dict(pretrained='fgclip2_tiny'),
    fusion=dict(type='OpenVocabGeometricFusion', alpha=0.5, temperature=0.05),
    mode='joint',
    nms_iou=0.5,
    max_per_image=100)
