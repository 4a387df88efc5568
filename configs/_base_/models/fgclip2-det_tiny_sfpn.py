# The same detector around the tiny encoder: 128 channels, 4 blocks, for a CPU. It comes
# aligned (fgclip2_det/assets/fgclip2_tiny) and stays as it is.
_base_ = './fgclip2-det_b16_sfpn.py'
model = dict(
    backbone=dict(encoder=dict(pretrained='fgclip2_tiny'), frozen_stages=4),
    neck=dict(in_channels=128, out_channels=64, scales=(2, 1, 0.5), num_outs=3),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(scales=[4, 6], ratios=[1.0], strides=[8, 16, 32]),
    ),
    roi_head=dict(
        # F-ViT's beta of 0.8 suits an encoder that knows novel classes better than
        # the detector does: with it OVShapes' novel AP50 is 0.80, with 0.5 0.88, with
        # 0.3 0.90
        fusion=dict(alpha=0.1, beta=0.3, temperature=0.05),
        # 0.3 then is 0.55 on trained names and 0.37 on others: precision above 0.9 on
        # both for few names (docs/scores.md)
        calibration=dict(base=-1.05, novel=-0.3),
        bbox_roi_extractor=dict(
            roi_layer=dict(output_size=5, sampling_ratio=2),
            out_channels=64,
            finest_scale=48,
            featmap_strides=[8, 16],
        ),
        bbox_head=dict(
            embed_dims=128,
            in_channels=64,
            roi_feat_size=5,
            fc_out_channels=256,
            classifier=dict(logit_scale=3.0),  # 1 / exp(3) = 0.05
        ),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=300, max_per_img=200),
        rcnn=dict(sampler=dict(num=64)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=300, max_per_img=200), rcnn=dict(score_thr=0.001)),
)
