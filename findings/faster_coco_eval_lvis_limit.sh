#!/usr/bin/env bash
# faster-coco-eval 1.8.0: lvis_style=True does not limit a picture to 300 detections.
#
# LVIS AP is that of the 300 detections of highest score of a picture, over all classes: without the limit a detector gains by
# a low-scored box of each of the 1203 classes. One would guess that lvis_style=True with maxDets=[300] gives the figure.
# Seen: 300 is the limit of each class in each picture, so that the 301st detection is still right. Given the 300 best alone,
# the figure is the one that hotcoco's LVIS classes give for all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q faster-coco-eval==1.8.0 hotcoco==1.3.0 numpy==2.2.6
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import contextlib, io, json, logging
from importlib.metadata import version
from pathlib import Path

import faster_coco_eval, hotcoco

logging.disable(logging.CRITICAL)
box, elsewhere = [10, 10, 40, 40], [200, 200, 50, 50]
image = dict(id=1, file_name='1.jpg', width=300, height=300, neg_category_ids=[], not_exhaustive_category_ids=[])
truth = dict(
    images=[image],
    categories=[dict(id=n, name=name, frequency='f', image_count=1, instance_count=1) for n, name in ((1, 'cat'), (2, 'dog'))],
    annotations=[dict(id=n, image_id=1, category_id=n, bbox=box, area=1600, iscrowd=0, segmentation=[]) for n in (1, 2)])
# 300 dogs, the first of them right, then a cat, which is right too
found = [dict(image_id=1, category_id=2, bbox=elsewhere if n else box, score=1 - n / 1000) for n in range(300)]
found.append(dict(image_id=1, category_id=1, bbox=box, score=0.1))
Path('truth.json').write_text(json.dumps(truth))
for name, rows in (('all', found), ('best', found[:300])):
    Path(f'{name}.json').write_text(json.dumps(rows))


def faster(name):
    truths = faster_coco_eval.COCO('truth.json')
    evaluator = faster_coco_eval.COCOeval_faster(truths, truths.loadRes(f'{name}.json'), 'bbox', lvis_style=True)
    evaluator.params.maxDets = [300]
    evaluator.run()
    return round(float(evaluator.stats[0]), 6)


def hot(name):
    truths = hotcoco.LVIS('truth.json')
    evaluator = hotcoco.LVISEval(truths, hotcoco.LVISResults(truths, f'{name}.json'), 'bbox')
    evaluator.run()
    return round(float(evaluator.get_results()['AP']), 6)


with contextlib.redirect_stdout(io.StringIO()):
    seen = {(tool.__name__, name): tool(name) for tool in (faster, hot) for name in ('all', 'best')}
print('faster-coco-eval', version('faster-coco-eval'), 'hotcoco', version('hotcoco'))
print('LVIS AP of 301 detections:', seen['faster', 'all'], 'and', seen['hot', 'all'])
print('of the 300 best:', seen['faster', 'best'], 'and', seen['hot', 'best'])
assert seen['hot', 'all'] == seen['hot', 'best'] == seen['faster', 'best'] == 0.5, seen
assert seen['faster', 'all'] == 1.0, 'the limit is that of a picture now'
PYTHON
