# LoRA on the base encoder instead of a frozen one; the 17 novel names are asked for in
# 1,000 validation images before, after every epoch and at the end. Needs peft.
_base_ = './fgclip2-det_b16_sfpn_8xb8-3e_ov-coco.py'
model = dict(
    backbone=dict(
        frozen_stages=-1,
        with_cp=True,
        lora=dict(r=8, alpha=16, dropout=0.0, target=('q_proj', 'v_proj')),
    ),
    roi_head=dict(region_loss_weight=0.5),
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='ZeroShotRetentionHook',
        dataset=_base_.val_dataloader.dataset,
        classes='novel',
        max_images=1000,
    ),
]
