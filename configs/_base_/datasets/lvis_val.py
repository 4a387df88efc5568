# LVIS v1 val, 19,809 images, most of them from COCO train2017; fixed AP.
_base_ = './lvis_minival.py'
data_root = '{{$COCO_ROOT:data/coco}}'
test_ann_file = 'annotations/lvis_v1_val.json'
test_dataloader = dict(dataset=dict(ann_file=test_ann_file))
test_evaluator = dict(ann_file=data_root + '/' + test_ann_file)
