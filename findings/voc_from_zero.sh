#!/usr/bin/env bash
# label-studio-sdk 2.1.2, datumaro 1.13.12, fiftyone 1.22.1: their PASCAL VOC files count pixels from 0, VOC's and supervision's from 1.
#
# The development kit of VOC counts pixels from 1, and xmax is the last pixel of an object: a box of pixels 4 to 19 (from 0) is
# xmin 5, xmax 20. One would guess that a file with VOC's keys means that. Seen: Label Studio and Datumaro (which writes CVAT's
# exports) write xmin 4, xmax 20, so that a reader of VOC gets a box that begins a pixel early in both directions; supervision
# writes 5 and 20. Nothing in the file says which it is. FiftyOne writes as the first two, and cuts fractions off; it is not run
# here, for it brings a gigabyte.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q label-studio-sdk==2.1.2 datumaro==1.13.12 supervision==0.31.2
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import json, logging
import xml.etree.ElementTree as ElementTree
from importlib.metadata import version
from pathlib import Path

import numpy as np
import supervision as sv
from datumaro.components.annotation import AnnotationType, Bbox, LabelCategories
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image as Media
from label_studio_sdk.converter import Converter
from PIL import Image

logging.disable(logging.CRITICAL)
X, Y, W, H = 4, 6, 16, 20  # pixels 4 to 19 and 6 to 25, counted from 0
path = Path('image.png').resolve()
Image.new('RGB', (50, 40)).save(path)


def corners(folder):
    box = ElementTree.parse(next(Path(folder).rglob('*.xml'))).find('.//bndbox')
    return [float(box.find(side).text) for side in ('xmin', 'ymin', 'xmax', 'ymax')]


value = dict(x=100 * X / 50, y=100 * Y / 40, width=100 * W / 50, height=100 * H / 40, rotation=0, rectanglelabels=['cat'])
result = dict(id='a', type='rectanglelabels', from_name='label', to_name='image', original_width=50, original_height=40,
              image_rotation=0, value=value)
tasks = [dict(id=1, data=dict(image=str(path)), annotations=[dict(id=1, completed_by=1, result=[result])])]
Path('tasks.json').write_text(json.dumps(tasks))
config = ('<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image"><Label value="cat"/>'
          '</RectangleLabels></View>')
Converter(config, '.', download_resources=False).convert_to_voc('tasks.json', 'studio', is_dir=False)

item = DatasetItem('image', subset='train', media=Media.from_file(path=str(path)), annotations=[Bbox(X, Y, W, H, label=0)])
labels = LabelCategories.from_iterable(['cat'])
Dataset.from_iterable([item], categories={AnnotationType.label: labels}).export('datumaro', 'voc_detection')

box = sv.Detections(xyxy=np.array([[X, Y, X + W, Y + H]], float), class_id=np.array([0]))
data = sv.DetectionDataset(classes=['cat'], images=[str(path)], annotations={str(path): box})
data.as_pascal_voc(annotations_directory_path='supervision')

seen = {name: corners(name) for name in ('studio', 'datumaro', 'supervision')}
for package, name in (('label-studio-sdk', 'studio'), ('datumaro', 'datumaro'), ('supervision', 'supervision')):
    print(package, version(package), 'xmin ymin xmax ymax of pixels 4 to 19, 6 to 25:', seen[name])
assert seen['studio'] == seen['datumaro'] == [4, 6, 20, 26], 'they count from 1 now'
assert seen['supervision'] == [5, 7, 20, 26], seen
PYTHON
