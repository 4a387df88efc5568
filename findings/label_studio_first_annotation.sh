#!/usr/bin/env bash
# label-studio-sdk 2.1.2 counts COCO annotations from 0; pycocotools 2.0.11 counts a correct detection of number 0 as wrong.
#
# An id is a name: one would guess that any unique integer will do, and that evaluators that promise pycocotools' own
# figures give them here too. Seen: pycocotools keeps the id of the matched annotation and takes 0 for no match, so the
# first object of such a file is missed however it is detected: AP is 0 where it is the only one of its class.
# faster-coco-eval says the same; hotcoco, ultrafast-pycocotools and vernier (parity_mode 'strict') say 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q label-studio-sdk==2.1.2 pycocotools==2.0.11 faster-coco-eval==1.8.0 hotcoco==1.3.0 \
  ultrafast-pycocotools==0.1.14 vernier==0.5.4 pillow==13.0.0 numpy==2.2.6
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import contextlib, io, json, logging
from importlib.metadata import version
from pathlib import Path

import faster_coco_eval, hotcoco, pycocotools.coco, pycocotools.cocoeval, ultrafast_pycocotools, vernier
from label_studio_sdk.converter import Converter
from PIL import Image

logging.disable(logging.CRITICAL)
config = ('<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image"><Label value="cat"/>'
          '</RectangleLabels></View>')
Image.new('RGB', (200, 100)).save('image.png')
result = dict(id='a', type='rectanglelabels', from_name='label', to_name='image', original_width=200, original_height=100,
              image_rotation=0, value=dict(x=10, y=10, width=20, height=20, rotation=0, rectanglelabels=['cat']))
tasks = [dict(id=1, data=dict(image=str(Path('image.png').resolve())),
              annotations=[dict(id=1, completed_by=1, result=[result])])]
Path('tasks.json').write_text(json.dumps(tasks))
Converter(config, '.', download_resources=False).convert_to_coco('tasks.json', 'coco', is_dir=False)
truth = json.loads(Path('coco/result.json').read_text())
[annotation] = truth['annotations']
Path('detections.json').write_text(json.dumps(
    [{key: annotation[key] for key in ('image_id', 'category_id', 'bbox')} | {'score': 0.9}]))


def average_precision(dataset, evaluation):
    with contextlib.redirect_stdout(io.StringIO()):
        truths = dataset('truth.json')
        evaluator = evaluation(truths, truths.loadRes('detections.json'), 'bbox')
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return round(float(evaluator.stats[0]), 6)


tools = {
    'pycocotools': (pycocotools.coco.COCO, pycocotools.cocoeval.COCOeval),
    'faster-coco-eval': (faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster),
    'hotcoco': (hotcoco.COCO, hotcoco.COCOeval),
    'ultrafast-pycocotools': (ultrafast_pycocotools.COCO, ultrafast_pycocotools.COCOeval),
    'vernier': (pycocotools.coco.COCO, vernier.COCOeval),
}
seen = {}
print('label-studio-sdk', version('label-studio-sdk'), 'writes annotation id', annotation['id'])
for first in (annotation['id'], 1):
    Path('truth.json').write_text(json.dumps(truth | {'annotations': [annotation | {'id': first}]}))
    seen[first] = {name: average_precision(*tool) for name, tool in tools.items()}
    print(f'AP of the same box, annotation id {first}:', {f'{name} {version(name)}': ap for name, ap in seen[first].items()})
assert annotation['id'] == 0, 'Label Studio counts from 1 now'
assert seen[1] == dict.fromkeys(tools, 1.0), seen[1]
assert seen[0] == {'pycocotools': 0.0, 'faster-coco-eval': 0.0, 'hotcoco': 1.0, 'ultrafast-pycocotools': 1.0,
                   'vernier': 1.0}, 'annotation 0 counts otherwise now'
PYTHON
