# COCO-Stuff-164k: 171 classes, label maps of numbers from 0 as Cat-Seg's
# datasets/prepare_coco_stuff.py writes them. Train at 384 x 384, test at 640.
data_root = 'data/coco/'
# names as people say them, in the order of the label maps
classes = [
    *('person', 'bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train', 'truck'),
    *('boat', 'traffic light', 'fire hydrant', 'stop sign', 'parking meter', 'bench'),
    *('bird', 'cat', 'dog', 'horse', 'sheep', 'cow', 'elephant', 'bear', 'zebra'),
    *('giraffe', 'backpack', 'umbrella', 'handbag', 'tie', 'suitcase', 'frisbee'),
    *('skis', 'snowboard', 'sports ball', 'kite', 'baseball bat', 'baseball glove'),
    *('skateboard', 'surfboard', 'tennis racket', 'bottle', 'wine glass', 'cup'),
    *('fork', 'knife', 'spoon', 'bowl', 'banana', 'apple', 'sandwich', 'orange'),
    *('broccoli', 'carrot', 'hot dog', 'pizza', 'donut', 'cake', 'chair', 'couch'),
    *('potted plant', 'bed', 'dining table', 'toilet', 'tv', 'laptop', 'mouse'),
    *('remote', 'keyboard', 'cell phone', 'microwave', 'oven', 'toaster', 'sink'),
    *('refrigerator', 'book', 'clock', 'vase', 'scissors', 'teddy bear'),
    *('hair drier', 'toothbrush', 'banner', 'blanket', 'branch', 'bridge'),
    *('building', 'bush', 'cabinet', 'cage', 'cardboard', 'carpet', 'ceiling'),
    *('ceiling tile', 'cloth', 'clothes', 'clouds', 'counter', 'cupboard'),
    *('curtain', 'desk', 'dirt', 'door', 'fence', 'marble floor', 'floor'),
    *('stone floor', 'tile floor', 'wood floor', 'flower', 'fog', 'food', 'fruit'),
    *('furniture', 'grass', 'gravel', 'ground', 'hill', 'house', 'leaves', 'light'),
    *('mat', 'metal', 'mirror', 'moss', 'mountain', 'mud', 'napkin', 'net', 'paper'),
    *('pavement', 'pillow', 'plant', 'plastic', 'platform', 'playing field'),
    *('railing', 'railroad', 'river', 'road', 'rock', 'roof', 'rug', 'salad', 'sand'),
    *('sea', 'shelf', 'sky', 'skyscraper', 'snow', 'solid', 'stairs', 'stone'),
    *('straw', 'structure', 'table', 'tent', 'textile', 'towel', 'tree'),
    *('vegetable', 'brick wall', 'concrete wall', 'wall', 'wall panel'),
    *('stone wall', 'tile wall', 'wood wall', 'water', 'waterdrops'),
    *('window blind', 'window', 'wood'),
]

train_pipeline = [
    dict(type='OpenVocabLoadImage'),
    dict(type='LoadAnnotations', with_bbox=False, with_seg=True),
    dict(type='Resize', scale=(2560, 384), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(384, 384), allow_negative_crop=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackDetInputs', meta_keys=('img_path', 'img_shape')),
]
test_pipeline = [
    dict(type='OpenVocabLoadImage'),
    dict(type='Resize', scale=(2560, 640), keep_ratio=True),
    # after resizing: original pixels
    dict(type='LoadAnnotations', with_bbox=False, with_seg=True),
    dict(type='PackDetInputs', meta_keys=('img_path', 'ori_shape', 'img_shape')),
]
dataset = dict(
    type='BaseSegDataset', data_root=data_root, metainfo=dict(classes=classes)
)
train_dataloader = dict(
    batch_size=2,  # 4 GPUs x 2 = 8 images a step
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        data_prefix=dict(
            img_path='train2017', seg_map_path='stuffthingmaps_detectron2/train2017'
        ),
        pipeline=train_pipeline,
        **dataset,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        data_prefix=dict(
            img_path='val2017', seg_map_path='stuffthingmaps_detectron2/val2017'
        ),
        test_mode=True,
        pipeline=test_pipeline,
        **dataset,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='OpenVocabSegMetric')
test_evaluator = val_evaluator
