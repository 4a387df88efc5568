#!/usr/bin/env bash
# datumaro 1.13.12: written in its own format, pictures of different folders become one file, and one of them is lost.
#
# Exported to COCO, VOC or YOLO a dataset keeps its folders. One would guess so of Datumaro's own format, or an error. Seen:
# it puts _ for the / of a name, so that cam/1_2.png and cam_1/2.png are both cam_1_2.png. One of them stays, and
# reading the folder again gives two items, one with the pixels of the other under its own boxes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q datumaro==1.13.12
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import json, os
from importlib.metadata import version
from pathlib import Path

from datumaro.components.dataset import Dataset
from PIL import Image

pictures = {'cam/1_2.png': ((200, 100), (255, 0, 0)), 'cam_1/2.png': ((60, 50), (0, 0, 255))}
truth = dict(images=[], categories=[dict(id=1, name='cat')], annotations=[])
for number, (name, (size, color)) in enumerate(pictures.items(), 1):
    path = Path('data/images/val', name)
    os.makedirs(path.parent)
    Image.new('RGB', size, color).save(path)
    truth['images'].append(dict(id=number, file_name=name, width=size[0], height=size[1]))
    truth['annotations'].append(dict(id=number, image_id=number, category_id=1, bbox=[0, 0, size[0] / 2, size[1] / 2],
                                     area=size[0] * size[1] / 4, iscrowd=0, segmentation=[]))
os.makedirs('data/annotations')
Path('data/annotations/instances_val.json').write_text(json.dumps(truth))


def shapes(folder, kind):
    """Height and width of each item's pixels."""
    return {item.id: item.media.data.shape[:2] for item in Dataset.import_from(folder, kind)}


print('datumaro', version('datumaro'))
source = Dataset.import_from('data', 'coco_instances')
seen = {}
for kind in ('coco_instances', 'voc', 'yolo', 'datumaro'):
    source.export(kind, kind, save_media=True)
    files = sorted(path.name for path in Path(kind).rglob('*.png'))
    seen[kind] = files, shapes(kind, kind)
    print(f'{kind}: {files}, read again: {seen[kind][1]}')
right = {'cam/1_2': (100, 200), 'cam_1/2': (50, 60)}
assert all(seen[kind][1] == right for kind in ('coco_instances', 'voc', 'yolo')), seen
assert seen['datumaro'][0] == ['cam_1_2.png'], 'both pictures are written now'
assert len(seen['datumaro'][1]) == 2 and len(set(seen['datumaro'][1].values())) == 1, 'each item has its own pixels now'
PYTHON
