# Sigmoid focal loss (RetinaNet), scale and bias as in SigLIP's loss.
_base_ = './ovd_fgclip2_3e.py'
model = dict(
    roi_head=dict(
        calibration=None,  # its shifts are for the scores of the softmax
        bbox_head=dict(
            classifier=dict(logit_scale='released'),
            loss_cls=dict(_delete_=True, type='OpenVocabFocalLoss', loss_weight=4.0),
        ),
    )
)
