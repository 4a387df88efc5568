#!/usr/bin/env bash
# mapcalc 0.2.2: mAP does not depend on scores, only on the order in which detections stand in the list.
#
# calculate_map takes dicts of boxes, labels and scores, by its README a list of 'scores (float) the algorithm generated', and
# computes the mAP of PASCAL VOC, whose curve is by falling scores. One would guess that it sorts. Seen: scores are counted and
# never read, so that exchanged scores change nothing, and a detector that lists boxes by place rather than by score (after tiles
# are joined, NMS by class, or a file that is sorted by class) gets another mAP for the same answer.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q mapcalc==0.2.2 pycocotools==2.0.11 numpy==2.2.6
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import contextlib, io
from importlib.metadata import version

from mapcalc import calculate_map
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

OBJECTS = [[10, 10, 50, 50], [60, 60, 100, 100]]
ALARMS = [[110, 10, 150, 50], [10, 110, 50, 150]]
truth = dict(boxes=OBJECTS, labels=[1, 1])


def by_coco(found):
    """AP at an IoU of 0.5."""
    truths = COCO()
    truths.dataset = dict(
        images=[dict(id=1, width=200, height=200)], categories=[dict(id=1, name='thing')],
        annotations=[dict(id=n, image_id=1, category_id=1, bbox=[x1, y1, x2 - x1, y2 - y1], area=1600, iscrowd=0)
                     for n, (x1, y1, x2, y2) in enumerate(OBJECTS, 1)])
    with contextlib.redirect_stdout(io.StringIO()):
        truths.createIndex()
        results = truths.loadRes([dict(image_id=1, category_id=1, bbox=[x1, y1, x2 - x1, y2 - y1], score=score)
                                  for (x1, y1, x2, y2), score in zip(found['boxes'], found['scores'])])
        run = COCOeval(truths, results, 'bbox')
        run.evaluate()
        run.accumulate()
        run.summarize()
    return round(float(run.stats[1]), 3)


def detections(boxes, scores):
    return dict(boxes=boxes, labels=[1] * len(boxes), scores=scores)


answers = {
    'objects first, with the high scores': detections(OBJECTS + ALARMS, [0.9, 0.8, 0.3, 0.2]),
    'the same answer, alarms first': detections(ALARMS + OBJECTS, [0.3, 0.2, 0.9, 0.8]),
    'another answer: alarms have the high scores': detections(OBJECTS + ALARMS, [0.3, 0.2, 0.9, 0.8])}
seen = {name: (round(float(calculate_map(truth, found, 0.5)), 3), by_coco(found)) for name, found in answers.items()}
print('mapcalc', version('mapcalc'), 'and pycocotools', version('pycocotools'), '- mAP at an IoU of 0.5')
for name, figures in seen.items():
    print(f'{name}: {figures[0]} and {figures[1]}')
assert [figures[1] for figures in seen.values()] == [1, 1, 0.5], seen
assert [figures[0] for figures in seen.values()] == [1, 0.5, 1], 'detections are sorted by score now'
PYTHON
