#!/usr/bin/env bash
# hotcoco 1.3.0: an object in two parts is two objects of the CVAT file that it writes, and a crowd is an object.
#
# COCO gives an object behind a pole a list of two polygons. CVAT's XML has masks, and group_id for shapes that belong together, and
# one would guess that to_cvat uses either, or counts what it cannot write, as it does for annotations without geometry. Seen: its
# docstring has polygons become <polygon> elements, and each becomes one by itself, in no group, so that from_cvat reads two objects
# with a box each; a crowd region becomes a plain <box>. Nothing says so but that boxes and polygons are more than there were
# annotations. A detector that is right about the first file, one box around each object and none around the crowd, has an AP of
# 0.257 on what came back.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q hotcoco==1.3.0 pycocotools==2.0.11 numpy==2.2.6
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import contextlib, io, json, warnings
from importlib.metadata import version
from pathlib import Path

import hotcoco
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

warnings.simplefilter('error')
whole, parted, crowd = [20, 20, 40, 60], [80, 20, 70, 60], [20, 120, 160, 60]


def polygon(x, y, w, h):
    return [x, y, x + w, y, x + w, y + h, x, y + h]


def runs(x, y, w, h, side=200):
    """RLE of a box, down the columns."""
    return [x * side + y] + [h, side - h] * (w - 1) + [h, side * side - (x + w - 1) * side - y - h]


truth = dict(
    images=[dict(id=1, file_name='image.png', width=200, height=200)], categories=[dict(id=1, name='person')],
    annotations=[
        dict(id=1, image_id=1, category_id=1, bbox=whole, area=2400, iscrowd=0, segmentation=[polygon(*whole)]),
        dict(id=2, image_id=1, category_id=1, bbox=parted, area=2400, iscrowd=0,
             segmentation=[polygon(80, 20, 20, 60), polygon(130, 20, 20, 60)]),
        dict(id=3, image_id=1, category_id=1, bbox=crowd, area=9600, iscrowd=1,
             segmentation=dict(size=[200, 200], counts=runs(*crowd)))])
Path('before.json').write_text(json.dumps(truth))
counted = hotcoco.COCO('before.json').to_cvat('cvat.xml')
hotcoco.COCO.from_cvat('cvat.xml').save('after.json')


def average_precision(path):
    with contextlib.redirect_stdout(io.StringIO()):
        truths = COCO(path)
        found = [dict(image_id=1, category_id=1, bbox=box, score=score) for box, score in ((whole, 0.9), (parted, 0.8))]
        run = COCOeval(truths, truths.loadRes(found), 'bbox')
        run.evaluate()
        run.accumulate()
        run.summarize()
    return round(float(run.stats[0]), 3)


read = [(a['bbox'], a['iscrowd']) for a in json.loads(Path('after.json').read_text())['annotations']]
figures = average_precision('before.json'), average_precision('after.json')
print('hotcoco', version('hotcoco'), '- three annotations are written as', counted)
print('and read as', *read)
print('AP of the same detections: before', figures[0], ', after', figures[1])
assert 'group_id' not in Path('cvat.xml').read_text(), 'parts are a group now'
assert sorted(read) == sorted([(whole, 0), ([80, 20, 20, 60], 0), ([130, 20, 20, 60], 0), (crowd, 0)]), 'other objects now'
assert figures == (1.0, 0.257), figures
PYTHON
