# OV-COCO, 48 base and 17 novel classes, F-ViT's schedule: batch 64, 3 epochs, AdamW
# 1e-4. Without released weights (random ones):
# --cfg-options model.backbone.encoder=base
_base_ = [
    '../_base_/models/fgclip2-det_b16_sfpn.py',
    '../_base_/datasets/ov_coco.py',
    '../_base_/schedules/schedule_3e.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=8)
