# The names go through an adapter, and TIC pushes them apart.
_base_ = './ovd_fgclip2_3e.py'
model = dict(
    roi_head=dict(
        bbox_head=dict(classifier=dict(text_adapter=64), tic=dict(loss_weight=0.1))
    )
)
