# The encoder is fine-tuned: lower rates towards its first block (ViTDet's decay), and a
# loss on its own region scores, which the fusion needs, keeps them from drifting.
_base_ = './fgclip2-mask-det_so16_sfpn_1024_8xb8-48e_ov-lvis.py'
model = dict(
    backbone=dict(frozen_stages=-1, with_cp=True), roi_head=dict(region_loss_weight=1.0)
)
optim_wrapper = dict(
    constructor='FGCLIP2LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(_delete_=True, decay_rate=0.8, backbone_lr_mult=0.1),
)
