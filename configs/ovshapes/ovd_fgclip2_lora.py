# The encoder stays as it is, but for LoRA adapters in its attention, with a loss on its
# own region scores. What becomes of the 17 names without training boxes is measured
# before, after every epoch and at the end. Needs peft.
_base_ = './ovd_fgclip2_3e.py'
model = dict(
    backbone=dict(
        frozen_stages=-1,
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
    ),
]
