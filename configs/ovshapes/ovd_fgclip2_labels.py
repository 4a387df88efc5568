# Trains on what `fgclip2-det annotate` left, not on the true boxes, and is measured on
# OVShapes val (docs/annotate.md). For images of your own, --cfg-options with
#   train_dataloader.dataset.ann_file=labels/coco.json
#   train_dataloader.dataset.data_prefix.img=photos
_base_ = './ovd_fgclip2_3e.py'
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='OpenVocabCocoDataset',
        ann_file='labels/coco.json',
        data_prefix=dict(img='photos'),
        only_base=True,
        filter_cfg=dict(filter_empty_gt=True),
        pipeline={{_base_.train_pipeline}},
    )
)
