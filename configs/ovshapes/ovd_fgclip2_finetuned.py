# The encoder is trained along, more slowly towards its first block. A loss on its own
# region scores keeps them from drifting.
_base_ = './ovd_fgclip2_3e.py'
model = dict(backbone=dict(frozen_stages=-1), roi_head=dict(region_loss_weight=0.5))
optim_wrapper = dict(
    constructor='FGCLIP2LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(_delete_=True, decay_rate=0.7, backbone_lr_mult=0.1),
)
