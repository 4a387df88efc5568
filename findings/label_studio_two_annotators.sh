#!/usr/bin/env bash
# label-studio-sdk 2.1.2: a picture that two people annotated is two in COCO, and has the last one's boxes alone in YOLO and VOC.
#
# One would guess one entry of `images` for one file, and the same boxes in each export. Seen: two image entries with the
# same file_name, each with one person's boxes, so that a training meets the picture twice and a detection found by file name
# goes with one of them; YOLO's and VOC's file is written once for each person, and the first one's boxes are gone.
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


def annotation(person, *lefts):
    """Boxes of 20 x 20 % at x = each of lefts."""
    return dict(id=person, completed_by=person, result=[
        dict(id=f'{person}-{left}', type='rectanglelabels', from_name='label', to_name='image', original_width=200,
             original_height=100, image_rotation=0,
             value=dict(x=left, y=10, width=20, height=20, rotation=0, rectanglelabels=['cat'])) for left in lefts])


Image.new('RGB', (200, 100)).save('image.png')
tasks = [dict(id=1, data=dict(image=str(Path('image.png').resolve())), annotations=[annotation(1, 0, 30), annotation(2, 60)])]
Path('tasks.json').write_text(json.dumps(tasks))
for kind in ('coco', 'yolo', 'voc'):
    converter = Converter(config, '.', download_resources=False)
    getattr(converter, f'convert_to_{kind}')('tasks.json', kind, is_dir=False)
coco = json.loads(Path('coco/result.json').read_text())
names = [Path(image['file_name']).name for image in coco['images']]
lefts = [(a['image_id'], round(a['bbox'][0], 6)) for a in coco['annotations']]
[yolo] = [path.read_text().split('\n') for path in Path('yolo/labels').iterdir()]
rows = [line for line in yolo if line]
[voc] = Path('voc/Annotations').iterdir()
sides = [box.findtext('bndbox/xmin') for box in ElementTree.parse(voc).iter('object')]
print('label-studio-sdk', version('label-studio-sdk'), '- boxes at x = 0 and 60 by one person, at x = 120 by another')
print('COCO: images', names, '(image id, x):', lefts)
print('YOLO:', rows, 'VOC: xmin', sides)
assert names == ['image.png'] * 2, 'one picture is one image now'
assert lefts == [(0, 0.0), (0, 60.0), (1, 120.0)], lefts
assert rows == ['0 0.7 0.2 0.2 0.2'], "YOLO has the first person's boxes now"
assert sides == ['120'], "VOC has the first person's boxes now"
PYTHON
