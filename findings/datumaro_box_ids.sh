#!/usr/bin/env bash
# datumaro 1.13.12: a VOC or YOLO set that it converts to COCO gives boxes of different images, or of one, the same id.
#
# An id of a COCO annotation stands once in its file, and pycocotools keeps annotations by it. Datumaro's readers of VOC and YOLO
# number the objects of each image from 0, its writer of COCO keeps these numbers and fills the zeros from 1. Seen, without a
# warning: of one image with two boxes both have id 1. pycocotools, and so MMDetection's CocoDataset, then reads the second box
# twice and the first one never, and a detector that finds both has an AP of 0.252.
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

BOXES = [[10, 20, 30, 40], [60, 20, 30, 40]]  # x, y, width, height
OBJECT = ('<object><name>cat</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>')
for name in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
    os.makedirs(Path('voc', name))
Image.new('RGB', (100, 80)).save('voc/JPEGImages/a.jpg')
Path('voc/ImageSets/Main/train.txt').write_text('a\n')
Path('voc/labelmap.txt').write_text('cat:::\n')
objects = ''.join(OBJECT.format(x, y, x + w, y + h) for x, y, w, h in BOXES)
Path('voc/Annotations/a.xml').write_text(
    f'<annotation><filename>a.jpg</filename><size><width>100</width><height>80</height><depth>3</depth></size>{objects}</annotation>')

os.makedirs('yolo/obj_train_data')
Image.new('RGB', (100, 80)).save('yolo/obj_train_data/a.jpg')
Path('yolo/obj.names').write_text('cat\n')
Path('yolo/obj.data').write_text('classes = 1\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n')
Path('yolo/train.txt').write_text('data/obj_train_data/a.jpg\n')
lines = [f'0 {(x + w / 2) / 100} {(y + h / 2) / 80} {w / 100} {h / 80}' for x, y, w, h in BOXES]
Path('yolo/obj_train_data/a.txt').write_text('\n'.join(lines))

print('datumaro', version('datumaro'), '- boxes', BOXES)
for kind in ('voc', 'yolo'):
    Dataset.import_from(kind, kind).export(f'{kind}_coco', 'coco_instances')
    path = f'{kind}_coco/annotations/instances_train.json'
    written = json.loads(Path(path).read_text())['annotations']
    ids = [a['id'] for a in written]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(path)
        read = [[round(n) for n in a['bbox']] for a in coco.loadAnns(coco.getAnnIds())]
        found = coco.loadRes([dict(image_id=a['image_id'], category_id=a['category_id'], bbox=a['bbox'], score=0.9) for a in written])
        evaluator = COCOeval(coco, found, 'bbox')
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    print(f'{kind} to COCO: ids {ids}; pycocotools reads {read}; AP of both boxes {evaluator.stats[0]:.3f}')
    assert sorted([round(n) for n in a['bbox']] for a in written) == BOXES, written
    assert ids == [1, 1], f'{kind}: boxes have ids of their own now'
    assert read == [BOXES[1], BOXES[1]], read
    assert round(float(evaluator.stats[0]), 3) == 0.252, evaluator.stats[0]
PYTHON
