# Besides the softmax over all names, one against the ten nearest base names (FGT).
_base_ = './ovd_fgclip2_3e.py'
model = dict(roi_head=dict(bbox_head=dict(hard_names=dict(num=10, loss_weight=0.5))))
