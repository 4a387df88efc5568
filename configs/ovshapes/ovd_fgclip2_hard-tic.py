# Hard negative names and TIC together.
_base_ = './ovd_fgclip2_tic.py'
model = dict(roi_head=dict(bbox_head=dict(hard_names=dict(num=10, loss_weight=0.5))))
