# F-ViT style open-vocabulary detector on a frozen FG-CLIP 2 base (CLIPSelf,
# arXiv:2310.01403), with ViTDet's simple pyramid instead of an FPN on four blocks.
model = dict(
    type='OpenVocabTwoStageDetector',
    data_preprocessor=dict(type='FGCLIP2DetDataPreprocessor', pad_size_divisor=16),
    templates='raw',
    backbone=dict(
        type='FGCLIP2ViT',
        # or dict(size='base', seed=0): random weights, nothing to download
        encoder=dict(pretrained='qihoo360/fg-clip2-base'),
        output='both',
        frozen_stages=12,  # all blocks: the encoder stays as released
    ),
    neck=dict(type='FGCLIP2SimpleFPN', in_channels=768, out_channels=256, num_outs=5),
    rpn_head=dict(
        type='RPNHead',
        in_channels=256,
        feat_channels=256,
        anchor_generator=dict(
            type='AnchorGenerator',
            scales=[8],
            ratios=[0.5, 1.0, 2.0],
            strides=[4, 8, 16, 32, 64],
        ),
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder',
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[1.0, 1.0, 1.0, 1.0],
        ),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_bbox=dict(type='L1Loss', loss_weight=1.0),
    ),
    roi_head=dict(
        type='OpenVocabRoIHead',
        region_loss_weight=0.0,  # a trained encoder needs it, a frozen one does not
        # F-ViT on OV-COCO: alpha on base, beta on novel classes, T = 75
        fusion=dict(
            type='OpenVocabFViTFusion', alpha=0.1, beta=0.8, temperature=1 / 75
        ),
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0),
            out_channels=256,
            featmap_strides=[4, 8, 16, 32],
        ),
        bbox_head=dict(
            type='OpenVocabBBoxHead',
            embed_dims=768,
            in_channels=256,
            roi_feat_size=7,
            fc_out_channels=1024,
            # background: a text, or None for a learned embedding;
            # logit_scale: 'released' copies scale and bias, a number starts there
            classifier=dict(
                background='background', logit_scale='released', learn_logits=True
            ),
            bbox_coder=dict(
                type='DeltaXYWHBBoxCoder',
                target_means=[0.0, 0.0, 0.0, 0.0],
                target_stds=[0.1, 0.1, 0.2, 0.2],
            ),
            loss_cls=dict(type='OpenVocabCrossEntropyLoss', bg_weight=0.6),
            loss_bbox=dict(type='L1Loss', loss_weight=1.0),
        ),
    ),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(
                type='MaxIoUAssigner',
                pos_iou_thr=0.7,
                neg_iou_thr=0.3,
                min_pos_iou=0.3,
                match_low_quality=True,
                ignore_iof_thr=-1,
            ),
            sampler=dict(
                type='RandomSampler',
                num=256,
                pos_fraction=0.5,
                neg_pos_ub=-1,
                add_gt_as_proposals=False,
            ),
            allowed_border=-1,
            pos_weight=-1,
            debug=False,
        ),
        rpn_proposal=dict(
            nms_pre=2000,
            max_per_img=1000,
            nms=dict(type='nms', iou_threshold=0.7),
            min_bbox_size=0,
        ),
        rcnn=dict(
            assigner=dict(
                type='MaxIoUAssigner',
                pos_iou_thr=0.5,
                neg_iou_thr=0.5,
                min_pos_iou=0.5,
                match_low_quality=False,
                ignore_iof_thr=-1,
            ),
            sampler=dict(
                type='RandomSampler',
                num=512,
                pos_fraction=0.25,
                neg_pos_ub=-1,
                add_gt_as_proposals=True,
            ),
            pos_weight=-1,
            debug=False,
        ),
    ),
    test_cfg=dict(
        rpn=dict(
            nms_pre=1000,
            max_per_img=1000,
            nms=dict(type='nms', iou_threshold=0.7),
            min_bbox_size=0,
        ),
        rcnn=dict(
            score_thr=0.0001, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100
        ),
    ),
)
