"""Published base / novel splits, by name."""

# fmt: off
OV_COCO_BASE_CLASSES = (
    'person', 'bicycle', 'car', 'motorcycle', 'train', 'truck', 'boat', 'bench', 'bird',
    'horse', 'sheep', 'bear', 'zebra', 'giraffe', 'backpack', 'handbag', 'suitcase',
    'frisbee', 'skis', 'kite', 'surfboard', 'bottle', 'fork', 'spoon', 'bowl', 'banana',
    'apple', 'sandwich', 'orange', 'broccoli', 'carrot', 'pizza', 'donut', 'chair',
    'bed', 'toilet', 'tv', 'laptop', 'mouse', 'remote', 'microwave', 'oven', 'toaster',
    'refrigerator', 'book', 'clock', 'vase', 'toothbrush',
)
OV_COCO_NOVEL_CLASSES = (
    'airplane', 'bus', 'cat', 'dog', 'cow', 'elephant', 'umbrella', 'tie', 'snowboard',
    'skateboard', 'cup', 'knife', 'cake', 'couch', 'keyboard', 'sink', 'scissors',
)
# fmt: on
# What a dataset's ``class_split`` may name. 'ov_coco': the 48 / 17 of COCO's 80
# classes of Bansal et al. (arXiv:1804.04340), in Detic's order; 15 are unused.
CLASS_SPLITS = {
    'ov_coco': {'base': OV_COCO_BASE_CLASSES, 'novel': OV_COCO_NOVEL_CLASSES},
}
