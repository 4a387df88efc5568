# OV-COCO on FG-CLIP 1 large, else as FG-CLIP 2's. Without released weights (random
# ones): --cfg-options model.backbone.encoder="{'size':'large','version':1}"
_base_ = [
    '../_base_/models/fgclip1-det_l14_sfpn.py',
    '../_base_/datasets/ov_coco.py',
    '../_base_/schedules/schedule_3e.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=8)
