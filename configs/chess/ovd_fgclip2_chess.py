# Real photographs: 12 chess pieces, 9 base and 3 novel. The data root is one option,
# so is the list of novel classes:
#   tools/train.py configs/chess/ovd_fgclip2_chess.py --cfg-options data_root=DIR
#   ... novel_classes="['white-king','black-pawn']"
_base_ = [
    '../_base_/models/fgclip2-det_tiny_sfpn.py',
    '../_base_/datasets/chess.py',
    '../_base_/schedules/schedule_cpu.py',
    '../_base_/default_runtime.py',
]
max_epochs = 12  # 202 photographs: 101 steps an epoch
model = dict(
    backbone=dict(
        # random weights, trained along: the embedded model knows no photographs
        encoder=dict(_delete_=True, size='tiny', seed=0),
        frozen_stages=-1,
    ),
    rpn_head=dict(anchor_generator=dict(ratios=[1.0, 2.0])),  # pieces stand upright
    roi_head=dict(
        region_loss_weight=1.0,
        calibration=None,  # not measured on these photographs
        # texts of a random tower are close, cosines 0.987 to 0.9997, so scores need a
        # sharper scale than the released model's 1 / 75
        fusion=dict(beta=0.8, temperature=0.004),
        bbox_head=dict(classifier=dict(logit_scale=5.5)),  # 1 / exp(5.5) = 0.004
    ),
)
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        by_epoch=True,
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min_ratio=0.02,
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(max_keep_ckpts=2))
