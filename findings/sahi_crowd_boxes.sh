#!/usr/bin/env bash
# sahi 0.12.8: slicing a COCO file makes objects of its crowd regions.
#
# iscrowd=1 marks a region in which detections are neither right nor wrong. One would guess that the slices' annotations
# keep it, since SAHI's classes have the field and write it. Seen: its reader does not pass it on, so that each piece of a
# crowd region that a slice cuts out is an object to find, with iscrowd=0, and merely reading a file and writing it does so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q sahi==0.12.8 pycocotools==2.0.11 numpy==2.2.6 pillow==13.0.0
"$folder/env/bin/pip" uninstall -q -y opencv-python
"$folder/env/bin/pip" install -q --force-reinstall --no-deps opencv-python-headless==4.12.0.88
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import contextlib, io, json, logging
from importlib.metadata import version
from pathlib import Path

from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from sahi.slicing import slice_coco
from sahi.utils.coco import Coco

logging.disable(logging.CRITICAL)
Path('images').mkdir()
Image.new('RGB', (400, 200)).save('images/image.png')
truth = dict(images=[dict(id=1, file_name='image.png', width=400, height=200)], categories=[dict(id=1, name='person')],
             annotations=[dict(id=1, image_id=1, category_id=1, bbox=[20, 20, 40, 80], area=3200, iscrowd=0),
                          dict(id=2, image_id=1, category_id=1, bbox=[120, 40, 160, 100], area=16000, iscrowd=1)])
Path('truth.json').write_text(json.dumps(truth))


def average_precision(path):
    """Of a detector that finds all objects of the first file and, rightly, no box around a crowd."""
    sliced = json.loads(Path(path).read_text())
    image = min(sliced['images'], key=lambda one: one['id'])['id']
    with contextlib.redirect_stdout(io.StringIO()):
        truths = COCO(path)
        found = truths.loadRes([dict(image_id=image, category_id=1, bbox=[20, 20, 40, 80], score=0.9)])
        evaluator = COCOeval(truths, found, 'bbox')
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return round(float(evaluator.stats[0]), 3)


with contextlib.redirect_stderr(io.StringIO()):
    read = Coco.from_coco_dict_or_path('truth.json').json
    _, sliced = slice_coco('truth.json', 'images', 'sliced', output_dir='out', slice_height=200, slice_width=200,
                           overlap_height_ratio=0, overlap_width_ratio=0)
crowds = {'read': [a['iscrowd'] for a in read['annotations']],
          'sliced': [a['iscrowd'] for a in json.loads(Path(sliced).read_text())['annotations']]}
figures = average_precision('truth.json'), average_precision(sliced)
print('sahi', version('sahi'), 'iscrowd of the file: [0, 1], of what SAHI', crowds)
print('AP of the same detections: before', figures[0], ', on the slices', figures[1])
assert crowds == {'read': [0, 0], 'sliced': [0, 0, 0]}, 'iscrowd is kept now'
assert figures == (1.0, 0.337), figures
PYTHON
