# The same detector on an encoder that knows the base pieces' names (stage 2 of the
# alignment, configs/pretrain/fgclip2_tiny_stage2_chess.py), frozen.
_base_ = './ovd_fgclip2_chess.py'
model = dict(
    backbone=dict(
        encoder=dict(
            _delete_=True, pretrained='work_dirs/fgclip2_tiny_stage2_chess/model'
        ),
        frozen_stages=4,
    ),
    roi_head=dict(
        region_loss_weight=0.0,
        fusion=dict(beta=0.3, temperature=0.05),
        bbox_head=dict(classifier=dict(logit_scale=3.0)),
    ),
)
