# COCO val2017, all 80 classes. COCO_ROOT may point elsewhere.
_base_ = './lvis_minival.py'
data_root = '{{$COCO_ROOT:data/coco}}'
test_ann_file = 'annotations/instances_val2017.json'
test_dataloader = dict(
    dataset=dict(
        type='CocoDataset', ann_file=test_ann_file, data_prefix=dict(img='val2017/')
    )
)
test_evaluator = dict(
    _delete_=True,
    type='CocoMetric',
    ann_file=data_root + '/' + test_ann_file,
    metric='bbox',
)
