#!/usr/bin/env bash
# torchmetrics 1.9.0: MeanAveragePrecision gives another AP than pycocotools, which it calls.
#
# One would guess that its figures are those of the evaluator it calls. Seen: it passes thresholds of IoU and recall that were
# rounded to float32, so that 0.8 is 0.8000000119: 4 of 5 objects do not reach the recall of 0.8 that pycocotools counts, 7 of 10
# reach more. The AP of a class of few objects is 0.01 too low or too high, and a box whose IoU is 0.6 does not match at 0.6.
# With iou_thresholds and rec_thresholds given as NumPy's, both figures are the same.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 numpy==2.2.6 pycocotools==2.0.11 torchmetrics==1.9.0
"$folder/env/bin/pip" install -q --no-deps torchvision==0.28.0 pillow==13.0.0
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import contextlib, io
from importlib.metadata import version

import numpy as np
import torch

try:
    import torchvision
except RuntimeError:  # built for another PyTorch: it imports with these two operators declared, and none is used here
    for name in ('nms', 'qnms'):
        torch.library.define(f'torchvision::{name}', '(Tensor dets, Tensor scores, float threshold) -> Tensor')
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchmetrics.detection import MeanAveragePrecision

EXACT = dict(iou_thresholds=np.linspace(0.5, 0.95, 10).tolist(), rec_thresholds=np.linspace(0, 1, 101).tolist())


def by_pycocotools(objects, found):
    truths = COCO()
    truths.dataset = dict(
        images=[dict(id=1, width=1000, height=1000)], categories=[dict(id=1, name='thing')],
        annotations=[dict(id=number, image_id=1, category_id=1, bbox=box, area=box[2] * box[3], iscrowd=0)
                     for number, box in enumerate(objects, 1)])
    with contextlib.redirect_stdout(io.StringIO()):
        truths.createIndex()
        results = truths.loadRes([dict(image_id=1, category_id=1, bbox=box, score=0.9) for box in found])
        evaluator = COCOeval(truths, results, 'bbox')
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return round(float(evaluator.stats[0]), 4)


def by_torchmetrics(objects, found, **options):
    metric = MeanAveragePrecision(box_format='xywh', **options)
    metric.update(
        [dict(boxes=torch.tensor(found), scores=torch.full((len(found),), 0.9), labels=torch.ones(len(found), dtype=int))],
        [dict(boxes=torch.tensor(objects), labels=torch.ones(len(objects), dtype=int))])
    return round(float(metric.compute()['map']), 4)


def row(count):
    return [[30.0 * place, 10.0, 20.0, 20.0] for place in range(count)]


print('torchmetrics', version('torchmetrics'), 'pycocotools', version('pycocotools'))
cases = {f'{found} of {all_} objects, exactly': (row(all_), row(found)) for found, all_ in ((4, 5), (7, 10), (12, 20), (35, 50))}
cases['a box of IoU 0.6'] = [[0.0, 0.0, 20.0, 20.0]], [[0.0, 0.0, 12.0, 20.0]]
seen = {}
for name, case in cases.items():
    seen[name] = by_pycocotools(*case), by_torchmetrics(*case), by_torchmetrics(*case, **EXACT)
    print(f'{name}: pycocotools {seen[name][0]}, torchmetrics {seen[name][1]}, with thresholds from NumPy {seen[name][2]}')
assert all(reference == exact for reference, _, exact in seen.values()), seen
assert all(reference != own for reference, own, _ in seen.values()), 'they agree now'
PYTHON
