# The same detector around the tiny encoder: 128 channels, 4 blocks, for a CPU.
_base_ = './fgclip2-det_b16_sfpn.py'
model = dict(
    backbone=dict(
        encoder=dict(_delete_=True, size='tiny', seed=0),  # random weights ...
        frozen_stages=-1),  # ... so the vision tower is trained along
    neck=dict(in_channels=128, out_channels=64, scales=(2, 1, 0.5), num_outs=3),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(scales=[4, 6], ratios=[1.0], strides=[8, 16, 32])),
    roi_head=dict(
        region_loss_weight=1.0,
        # texts of a random tower are close, cosines 0.987 to 0.9997 among OVShapes'
        # names, so scores need a sharper scale than the released model's 1 / 75
        fusion=dict(temperature=0.004),
        bbox_roi_extractor=dict(
            roi_layer=dict(output_size=5, sampling_ratio=2),
            out_channels=64,
            finest_scale=48,
            featmap_strides=[8, 16]),
        bbox_head=dict(
            embed_dims=128,
            in_channels=64,
            roi_feat_size=5,
            fc_out_channels=256,
            classifier=dict(logit_scale=5.5))),  # 1 / exp(5.5) = 0.004
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=300, max_per_img=200),
        rcnn=dict(sampler=dict(num=64))),
    test_cfg=dict(
        rpn=dict(nms_pre=300, max_per_img=200), rcnn=dict(score_thr=0.001)))
