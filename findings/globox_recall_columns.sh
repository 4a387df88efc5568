#!/usr/bin/env bash
# globox 2.9.0: the recall columns AR 1, AR 10 and AR 100 of its table and its CSV file hold precisions.
#
# COCOEvaluator.save_csv writes twelve columns for each class, by the names of COCO's twelve figures, and show_summary prints the
# same. One would guess that 'AR 100' is what ar_100() averages. Seen: for each class they take ["ap"] of the evaluation with this
# limit (evaluation.py), so that AR 100 is AP 50:95 once more; AR S, M and L are recalls. The last line of the printed table has
# the right means, and does not fit the lines above it. A detector that finds every object, though with false alarms before, has an
# AR 100 of 1 by pycocotools and ar_100(), and 0.5 in the file.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q globox==2.9.0 pycocotools==2.0.11 numpy==2.2.6
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import contextlib, csv, io, json
from importlib.metadata import version
from pathlib import Path

import globox
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

box, elsewhere = [10, 10, 40, 40], [100, 100, 40, 40]
truth = dict(images=[dict(id=1, file_name='1.jpg', width=200, height=200)], categories=[dict(id=1, name='cat')],
             annotations=[dict(id=1, image_id=1, category_id=1, bbox=box, area=1600, iscrowd=0)])
# a false alarm, then the object
found = [dict(image_id=1, category_id=1, bbox=place, score=score) for place, score in ((elsewhere, 0.9), (box, 0.8))]
Path('truth.json').write_text(json.dumps(truth))
Path('found.json').write_text(json.dumps(found))

truths = globox.AnnotationSet.from_coco('truth.json')
evaluator = globox.COCOEvaluator(ground_truths=truths, predictions=truths.from_results('found.json'))
evaluator.save_csv('figures.csv')
with open('figures.csv', newline='') as file:
    row = {name: value if name == 'label' else round(float(value), 3) for name, value in next(csv.DictReader(file)).items()}
with contextlib.redirect_stdout(io.StringIO()):
    coco = COCO('truth.json')
    run = COCOeval(coco, coco.loadRes('found.json'), 'bbox')
    run.evaluate()
    run.accumulate()
    run.summarize()
precision, *recalls = (round(float(run.stats[place]), 3) for place in (0, 6, 7, 8))
methods = [round(float(value), 3) for value in (evaluator.ap(), evaluator.ar_1(), evaluator.ar_10(), evaluator.ar_100())]
columns = [row[name] for name in ('AP 50:95', 'AR 1', 'AR 10', 'AR 100')]
print('globox', version('globox'), '- AP 50:95, AR 1, AR 10, AR 100 of the one class')
print('pycocotools', [precision, *recalls], 'methods', methods, 'CSV file', columns, 'its AR M', row['AR M'])
assert methods == [precision, *recalls] == [0.5, 0, 1, 1], methods
assert row['AR M'] == 1, row
assert columns == [0.5, 0, 0.5, 0.5], 'the columns are recalls now'
PYTHON
