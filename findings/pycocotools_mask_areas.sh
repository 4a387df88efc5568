#!/usr/bin/env bash
# pycocotools 2.0.11: a bbox beside the masks of results changes their AP of small and large objects.
#
# Evaluation with iouType='segm' compares masks, and one would guess that a box in the same row changes nothing. Seen: where the
# first row has a bbox, loadRes takes the area of every row from width x height of the box, while the objects' areas are those of
# their masks. A thin stroke of 150 pixels that is nowhere an object is a false alarm among small objects without the key, and among
# large ones with it. faster-coco-eval 1.8.0 and lvis 0.5.3 do the same. AP over all sizes stays.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q pycocotools==2.0.11 faster-coco-eval==1.8.0 numpy==2.2.6
"$folder/env/bin/pip" install -q --no-deps lvis==0.5.3
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import contextlib, io, json, logging, sys, types
from importlib.metadata import version

import numpy as np
import pycocotools.coco, pycocotools.cocoeval
from pycocotools import mask as masks

import faster_coco_eval

logging.disable(logging.CRITICAL)


def square(x, y, side):
    pixels = np.zeros((300, 300), np.uint8)
    pixels[y:y + side, x:x + side] = 1
    return pixels


def encoded(pixels):
    code = masks.encode(np.asfortranarray(pixels))
    return code | dict(counts=code['counts'].decode())


def box(pixels):
    return masks.toBbox(encoded(pixels)).tolist()


small, large, stroke = square(10, 10, 20), square(10, 150, 120), np.eye(300, dtype=np.uint8)
stroke[:150] = 0
objects = [dict(id=number, image_id=1, category_id=1, segmentation=encoded(pixels), bbox=box(pixels),
                area=int(pixels.sum()), iscrowd=0) for number, pixels in ((1, small), (2, large))]
with open('truth.json', 'w') as file:
    json.dump(dict(
        images=[dict(id=1, width=300, height=300, neg_category_ids=[], not_exhaustive_category_ids=[])],
        categories=[dict(id=1, name='thing', frequency='f')], annotations=objects), file)


def results(with_boxes):
    rows = ((stroke, 0.9), (small, 0.8), (large, 0.7))
    return [dict(image_id=1, category_id=1, segmentation=encoded(pixels), score=score)
            | (dict(bbox=box(pixels)) if with_boxes else {}) for pixels, score in rows]


def by_coco(reader, evaluator, rows):
    truths = reader('truth.json')
    run = evaluator(truths, truths.loadRes(rows), 'segm')
    run.evaluate()
    run.accumulate()
    run.summarize()
    return run.stats[[0, 3, 5]]


def by_lvis(rows):
    np.float = float  # lvis asks NumPy for a name that it no longer has
    sys.modules['lvis.vis'] = types.SimpleNamespace(LVISVis=None)  # draws, with OpenCV and matplotlib
    from lvis import LVIS, LVISEval, LVISResults
    run = LVISEval(LVIS('truth.json'), LVISResults('truth.json', rows), 'segm')
    run.run()
    return [run.get_results()[name] for name in ('AP', 'APs', 'APl')]


tools = {'pycocotools': lambda rows: by_coco(pycocotools.coco.COCO, pycocotools.cocoeval.COCOeval, rows),
         'faster-coco-eval': lambda rows: by_coco(faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster, rows),
         'lvis': by_lvis}
print('areas of the stroke: of its mask', int(stroke.sum()), 'of its box', box(stroke)[2] * box(stroke)[3])
for name, tool in tools.items():
    seen = {}
    for with_boxes in (False, True):
        with contextlib.redirect_stdout(io.StringIO()):
            seen[with_boxes] = [round(float(figure), 3) for figure in tool(results(with_boxes))]
    print(f'{name} {version(name)}: AP, small, large of the masks alone {seen[False]}, with boxes beside them {seen[True]}')
    assert seen[False] == [0.667, 0.5, 1.0], seen
    assert seen[True] == [0.667, 1.0, 0.5], 'boxes change nothing now'
PYTHON
