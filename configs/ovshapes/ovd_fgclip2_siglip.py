# One binary loss a name, SigLIP's, from the encoder's own scale and bias.
_base_ = './ovd_fgclip2_3e.py'
model = dict(
    roi_head=dict(
        calibration=None,  # its shifts are for the scores of the softmax
        bbox_head=dict(
            classifier=dict(logit_scale='released'),
            loss_cls=dict(use_sigmoid=True, bg_weight=1.0),
        ),
    )
)
