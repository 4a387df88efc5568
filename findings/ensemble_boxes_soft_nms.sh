#!/usr/bin/env bash
# ensemble-boxes 1.0.9: soft_nms returns the scores from before it lowered them.
#
# Soft-NMS keeps overlapping boxes and lowers their scores, and one would guess that the scores it returns are these. Seen: boxes
# are dropped and ordered by the lowered scores, and come with their old ones. A duplicate that has fallen from 0.8 to 0.16 stands
# last in the list with 0.8, and once detections are sorted by score again, as every evaluator does, Soft-NMS has done nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q ensemble-boxes==1.0.9 numpy==2.2.6 pycocotools==2.0.11
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import contextlib, io
from importlib.metadata import version

import numpy as np
from ensemble_boxes import soft_nms
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

objects = [[0.0, 0.0, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]]
boxes = [objects[0], [0.0, 0.0, 0.5, 0.45], objects[1]]
scores = [0.9, 0.8, 0.3]


def average_precision(boxes, scores):
    """In a picture of 1000 pixels with the two objects, of which the second box is a duplicate."""
    def place(box):
        x1, y1, x2, y2 = (1000 * float(side) for side in box)
        return [x1, y1, x2 - x1, y2 - y1]

    truths = COCO()
    truths.dataset = dict(
        images=[dict(id=1, width=1000, height=1000)], categories=[dict(id=1, name='thing')],
        annotations=[dict(id=number, image_id=1, category_id=1, bbox=place(box), area=90000, iscrowd=0)
                     for number, box in enumerate(objects, 1)])
    with contextlib.redirect_stdout(io.StringIO()):
        truths.createIndex()
        found = truths.loadRes([dict(image_id=1, category_id=1, bbox=place(box), score=float(score))
                                for box, score in zip(boxes, scores)])
        evaluator = COCOeval(truths, found, 'bbox')
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return round(float(evaluator.stats[0]), 3)


print('ensemble-boxes', version('ensemble-boxes'), 'scores', scores, 'IoU of the first two', 0.9)
for method, weight in ((1, 1 - 0.9), (2, np.exp(-0.9 ** 2 / 0.5))):
    kept, returned, _ = soft_nms([boxes], [scores], [[0, 0, 0]], method=method, iou_thr=0.5, sigma=0.5, thresh=0.001)
    places = [boxes.index(box) for box in kept.tolist()]
    lowered = [0.9, 0.8 * weight, 0.3]
    print(f"{'linear' if method == 1 else 'gaussian'}: boxes", places, 'with', returned.tolist(),
          'lowered scores', [round(float(lowered[place]), 3) for place in places])
    assert places == [0, 2, 1], places
    assert returned.tolist() == [0.9, 0.3, 0.8], 'the lowered scores are returned now'
    before, after = average_precision(boxes, scores), average_precision(kept, returned)
    meant = average_precision(kept, [lowered[place] for place in places])
    print('AP without Soft-NMS', before, 'of what it returns', after, 'with the lowered scores', meant)
    assert before == after < meant == 1.0, (before, after, meant)
PYTHON
