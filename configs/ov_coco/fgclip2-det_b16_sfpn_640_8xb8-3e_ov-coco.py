# F-ViT on OV-COCO with large-scale jitter, frozen encoder, 640 x 640.
_base_ = [
    '../_base_/models/fgclip2-det_b16_sfpn.py',
    '../_base_/datasets/ov_coco_lsj640.py',
    '../_base_/schedules/schedule_3e.py',
    '../_base_/default_runtime.py',
]
train_dataloader = dict(batch_size=8)
