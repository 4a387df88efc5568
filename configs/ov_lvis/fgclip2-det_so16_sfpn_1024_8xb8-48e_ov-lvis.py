# F-ViT on OV-LVIS, frozen encoder. A name counts in the images that LVIS searched
# for it.
_base_ = [
    '../_base_/models/fgclip2-det_so16_sfpn.py',
    '../_base_/datasets/ov_lvis_1024.py',
    '../_base_/schedules/schedule_48e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    roi_head=dict(
        fusion=dict(alpha=0.1, beta=0.4, temperature=1 / 50),
        bbox_head=dict(federated=dict(image_lists=True), loss_cls=dict(bg_weight=0.9)),
    ),
    test_cfg=dict(rcnn=dict(score_thr=0.0001, max_per_img=300)),
)
