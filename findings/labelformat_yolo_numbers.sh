#!/usr/bin/env bash
# labelformat 0.1.17 and supervision 0.31.2: a COCO file that one turns into YOLO is read by the other with the next class's names.
#
# COCO's categories begin at 1, classes of YOLO at 0. One would guess that a converter counts anew, or that its reader goes by the
# numbers in data.yaml. Seen: labelformat's writer for YOLOv5 to YOLOv26 and RT-DETR keeps COCO's ids in the labels and as keys of
# names (1: cat, 2: dog, 3: bird); supervision's reader sorts the keys and throws them away (_extract_class_names), so that class 1
# is the second name: each cat is a dog, without a warning, as long as no box has the last class. Between ids with gaps, as COCO's
# own 1 to 90, the distance grows.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q labelformat==0.1.17 supervision==0.31.2 numpy==2.2.6 pillow==13.0.0
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import json
from importlib.metadata import version
from pathlib import Path

import supervision as sv
import yaml
from labelformat.formats import COCOObjectDetectionInput, YOLOv8ObjectDetectionOutput
from PIL import Image

NAMES = {1: 'cat', 2: 'dog', 4: 'bird', 9: 'fish'}
BOXES = [(1, [10, 20, 30, 40]), (2, [50, 10, 20, 20])]
Path('yolo/images').mkdir(parents=True)
Image.new('RGB', (100, 80)).save('yolo/images/image.png')
Path('coco.json').write_text(json.dumps(dict(
    images=[dict(id=1, file_name='image.png', width=100, height=80)],
    categories=[dict(id=number, name=name) for number, name in NAMES.items()],
    annotations=[dict(id=n, image_id=1, category_id=number, bbox=box, area=box[2] * box[3], iscrowd=0)
                 for n, (number, box) in enumerate(BOXES, 1)])))
YOLOv8ObjectDetectionOutput(Path('yolo/data.yaml'), 'train').save(COCOObjectDetectionInput(Path('coco.json')))
written = yaml.safe_load(Path('yolo/data.yaml').read_text())['names']
labels = [line.split()[0] for line in Path('yolo/labels/image.txt').read_text().splitlines()]
data = sv.DetectionDataset.from_yolo('yolo/images', 'yolo/labels', 'yolo/data.yaml')
(_, _, found), = data
read = [data.classes[number] for number in found.class_id]
print('COCO:', [NAMES[number] for number, _ in BOXES])
print('labelformat', version('labelformat'), 'writes names', written, 'and labels', labels)
print('supervision', version('supervision'), 'reads', read)
assert written == NAMES and labels == ['1', '2'], 'classes are counted from 0 now'
assert read == ['dog', 'bird'], 'names go by their numbers now'
PYTHON
