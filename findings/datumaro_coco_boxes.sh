#!/usr/bin/env bash
# datumaro 1.13.12: a COCO file of boxes that it reads and writes as COCO has no crowds, no ignored boxes and other areas.
#
# A detection file without masks still says which boxes are crowds (iscrowd), which are to be ignored (ignore), and how large
# an object's mask was (area), on which its being small or medium depends. One would guess that COCO to COCO keeps them, since
# a crowd with a mask stays one. Seen: each iscrowd is 0, ignore is gone and area is width * height, without a warning, so that
# a detector that finds every object is marked down for the regions in which the file asks for nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q datumaro==1.13.12 pycocotools==2.0.11
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import contextlib, io, json, os
from importlib.metadata import version
from pathlib import Path

from datumaro.components.dataset import Dataset
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def entry(number, bbox, **fields):
    return dict(id=number, image_id=1, category_id=1, bbox=bbox, iscrowd=0, area=bbox[2] * bbox[3], segmentation=[]) | fields


def figures(path):
    """AP, and AP of small objects, of a detector that finds the first object and no others."""
    with contextlib.redirect_stdout(io.StringIO()):
        truths = COCO(path)
        found = truths.loadRes([dict(image_id=1, category_id=1, bbox=[0, 0, 40, 40], score=0.9)])
        evaluator = COCOeval(truths, found, 'bbox')
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return [round(float(n), 3) for n in evaluator.stats[[0, 3]]]


os.makedirs('data/annotations')
os.makedirs('data/images/val')
Image.new('RGB', (200, 200)).save('data/images/val/image.png')
masked = dict(counts=[180 * 200, 4000], size=[200, 200])  # the last 20 columns
truth = dict(images=[dict(id=1, file_name='image.png', width=200, height=200)], categories=[dict(id=1, name='person')],
             annotations=[entry(1, [0, 0, 40, 40], area=900), entry(2, [100, 0, 50, 50], iscrowd=1),
                          entry(3, [100, 100, 50, 50], ignore=1, iscrowd=1),
                          entry(4, [180, 0, 20, 200], iscrowd=1, segmentation=masked)])
file = 'annotations/instances_val.json'
Path('data', file).write_text(json.dumps(truth))
Dataset.import_from('data', 'coco_instances').export('out', 'coco_instances')
written = {a['id']: a for a in json.loads(Path('out', file).read_text())['annotations']}
crowds = {number: a['iscrowd'] for number, a in sorted(written.items())}
print('datumaro', version('datumaro'), 'iscrowd of the file {1: 0, 2: 1, 3: 1, 4: 1}, as written', crowds)
print('area of box 1: 900, as written', written[1]['area'], '- ignore of box 3: 1, as written', written[3].get('ignore'))
before, after = figures(Path('data', file)), figures(Path('out', file))
print('AP and AP of small objects: before', before, 'after', after)
assert crowds == {1: 0, 2: 0, 3: 0, 4: 1}, 'a crowd stays one now'
assert written[1]['area'] == 1600, 'area is kept now'
assert 'ignore' not in written[3], 'ignore is kept now'
assert before == [1.0, 1.0], before
assert after == [0.337, -1.0], after
PYTHON
