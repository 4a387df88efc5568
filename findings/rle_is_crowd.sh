#!/usr/bin/env bash
# labelformat 0.1.17, supervision 0.31.2: an object whose mask is written as RLE becomes a crowd.
#
# COCO has iscrowd=1 for a region of many objects, in which detections are neither right nor wrong; one object may be RLE as well,
# and pycocotools' loadRes gives all masks of results iscrowd=0. One would guess that a converter keeps as one object what is one.
# Seen: labelformat's COCO writer sets iscrowd by the kind of mask (get_coco_segmentation), so that all objects are crowds with
# segmentation_type='rle', which its docstring advises for masks with holes. supervision's as_coco does so for masks of two parts or
# with a hole; its documentation calls that an encoding. A person behind a pole is a crowd, the one beside it is not. Such objects
# count for nothing: a detector that misses them has the AP of one that finds them, and MMDetection does not train on them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q labelformat==0.1.17 supervision==0.31.2 pycocotools==2.0.11 numpy==2.2.6 pillow==13.0.0
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import contextlib, io, json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import supervision as sv
from labelformat.formats import COCOInstanceSegmentationOutput, MaskPairInstanceSegmentationInput
from PIL import Image
from pycocotools import mask as masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

whole, parted = np.zeros((2, 200, 200), bool)
whole[20:80, 20:80] = True
parted[100:180, 20:180] = True
for name in ('images', 'masks'):
    Path(name).mkdir()
Image.new('RGB', (200, 200)).save('images/image.png')
Image.fromarray((255 * (whole | parted)).astype(np.uint8)).save('masks/image.png')
pairs = MaskPairInstanceSegmentationInput(
    'images/*.png', 'masks/*.png', base_path=Path('.'), category_names='person', segmentation_type='rle')
COCOInstanceSegmentationOutput(Path('labelformat.json')).save(pairs)

parted[:, 95:105] = False  # a pole stands in front of it
boxes = sv.mask_to_xyxy(np.stack([whole, parted]))
objects = sv.Detections(xyxy=boxes.astype(float), mask=np.stack([whole, parted]), class_id=np.zeros(2, int))
sv.DetectionDataset(['person'], ['images/image.png'], {'images/image.png': objects}).as_coco(annotations_path='supervision.json')


def average_precision(path, found):
    with contextlib.redirect_stdout(io.StringIO()):
        truths = COCO(path)
        rows = [dict(image_id=a['image_id'], category_id=a['category_id'], segmentation=truths.annToRLE(a), score=0.9)
                for a in truths.anns.values() if a['id'] in found]
        run = COCOeval(truths, truths.loadRes(rows), 'segm')
        run.evaluate()
        run.accumulate()
        run.summarize()
    return round(float(run.stats[0]), 3)


seen = {}
for tool in ('labelformat', 'supervision'):
    path = f'{tool}.json'
    content = json.loads(Path(path).read_text())
    for number, annotation in enumerate(content['annotations'], 1):
        annotation.setdefault('id', number)  # labelformat writes none, nor areas
        annotation.setdefault('area', annotation['bbox'][2] * annotation['bbox'][3])
    Path(path).write_text(json.dumps(content))
    crowds = [int(a['iscrowd']) for a in content['annotations']]
    seen[tool] = crowds, average_precision(path, (1, 2)), average_precision(path, (1,))
    print(tool, version(tool), 'iscrowd of two objects', seen[tool][0], '- AP of both found', seen[tool][1],
          'of the first alone', seen[tool][2])
assert seen['labelformat'] == ([1, 1], -1, -1), 'an object of RLE is no crowd now'
assert seen['supervision'] == ([0, 1], 1, 1), 'an object in two parts is no crowd now'
PYTHON
