# Cat-Seg on FG-CLIP 2 base, trained on COCO-Stuff-164k as in FG-CLIP 2's table 6. The
# text tower stays as released (the paper trains both at 0.01 of the rate);
# model.backbone.frozen_stages=12 freezes the vision tower too.
_base_ = [
    '../_base_/models/fgclip2-cost_b16.py',
    '../_base_/datasets/coco_stuff.py',
    '../_base_/schedules/schedule_80k_seg.py',
    '../_base_/default_runtime.py',
]
default_hooks = dict(
    logger=dict(interval=50),
    checkpoint=dict(by_epoch=False, interval=10_000, max_keep_ckpts=2),
)
log_processor = dict(by_epoch=False)
