# Training-free: the Faster R-CNN beside this file, its scores fused with FG-CLIP 2's.
#   tools/train.py configs/rescore/faster-rcnn_r18_ovshapes.py
#   tools/test.py THIS work_dirs/faster-rcnn_r18_ovshapes/epoch_6.pth
_base_ = './faster-rcnn_r18_ovshapes.py'
model = dict(
    _delete_=True,
    type='FGCLIP2Rescorer',
    detector={{_base_.model}},
    encoder=dict(pretrained='fgclip2_tiny'),
    # alpha and temperature by tools/tune_fusion.py, on base classes
    fusion=dict(type='OpenVocabGeometricFusion', alpha=0.35, temperature=0.05),
    mode='keep',
    # for few names, by their best F1 on other draws of the validation images, a little
    # to the side of precision (tools/tune_fusion.py --few-names, docs/scores.md)
    calibration=dict(base=-0.5, novel=-0.1),
    max_num_patches=576,  # as the encoder's last stage
)
