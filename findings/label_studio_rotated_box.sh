#!/usr/bin/env bash
# label-studio-sdk 2.1.2: exported to COCO, to YOLO or VOC, and to YOLO-OBB, one turned rectangle is three different regions.
#
# Label Studio keeps a rectangle's corner and sides in percent of the picture's width and height, and its rotation in
# degrees. One would guess that the box in COCO is the upright one around the four corners that the same package writes
# for YOLO-OBB. Seen: COCO's is turned while still in percent, which are longer across than down unless the picture is
# square: a box of 40 x 20 pixels turned by 90 degrees is still 40 wide and 20 high, in the wrong place (IoU 1/3).
# YOLO's and VOC's is not turned at all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q label-studio-sdk==2.1.2 pillow==13.0.0
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import json, logging
import xml.etree.ElementTree as ElementTree
from importlib.metadata import version
from pathlib import Path

from label_studio_sdk.converter import Converter
from PIL import Image

logging.disable(logging.CRITICAL)
config = ('<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image"><Label value="cat"/>'
          '</RectangleLabels></View>')


def exported(name, width, height):
    """Upright (x1, y1, x2, y2) in pixels by format. The rectangle: its corner at half the width, 30 px down; 40 x 20 px; turned."""
    folder = Path(name)
    folder.mkdir()
    image = folder.resolve() / 'image.png'
    Image.new('RGB', (width, height)).save(image)
    value = dict(x=50, y=3000 / height, width=4000 / width, height=2000 / height, rotation=90, rectanglelabels=['cat'])
    result = dict(id='a', type='rectanglelabels', from_name='label', to_name='image', original_width=width,
                  original_height=height, image_rotation=0, value=value)
    tasks = [dict(id=1, data=dict(image=str(image)), annotations=[dict(id=1, completed_by=1, result=[result])])]
    (folder / 'tasks.json').write_text(json.dumps(tasks))
    source = str(folder / 'tasks.json')

    def converter():
        return Converter(config, str(folder), download_resources=False)

    converter().convert_to_coco(source, str(folder / 'coco'), is_dir=False)
    x, y, w, h = json.loads((folder / 'coco/result.json').read_text())['annotations'][0]['bbox']
    boxes = {'COCO': (x, y, x + w, y + h)}
    converter().convert_to_yolo(source, str(folder / 'yolo'), is_dir=False)
    x, y, w, h = map(float, next((folder / 'yolo/labels').iterdir()).read_text().split()[1:])
    boxes['YOLO'] = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
    converter().convert_to_yolo(source, str(folder / 'obb'), is_dir=False, is_obb=True)
    corners = [float(n) for n in next((folder / 'obb/labels').iterdir()).read_text().split()[1:]]
    xs, ys = [n * width for n in corners[::2]], [n * height for n in corners[1::2]]
    boxes['YOLO-OBB'] = (min(xs), min(ys), max(xs), max(ys))
    converter().convert_to_voc(source, str(folder / 'voc'), is_dir=False)
    box = ElementTree.parse(next((folder / 'voc/Annotations').iterdir())).find('object/bndbox')
    boxes['VOC'] = tuple(float(box.find(side).text) for side in ('xmin', 'ymin', 'xmax', 'ymax'))
    return {kind: [round(n, 6) for n in box] for kind, box in boxes.items()}


wide, square = exported('wide', 200, 100), exported('square', 200, 200)
print('label-studio-sdk', version('label-studio-sdk'))
print('picture of 200 x 100:', wide)
print('picture of 200 x 200:', square)
upright = [80, 30, 100, 70]
assert wide['YOLO-OBB'] == square['YOLO-OBB'] == upright, 'the corners changed'
assert square['COCO'] == upright, 'in a square picture it was right'
assert wide['COCO'] == [60, 30, 100, 50], 'COCO has the upright box around the corners now'
for boxes in (wide, square):
    assert boxes['YOLO'] == boxes['VOC'] == [100, 30, 140, 50], 'YOLO and VOC have the turned rectangle now'
PYTHON
