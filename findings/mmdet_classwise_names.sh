#!/usr/bin/env bash
# onedl-mmdetection 3.5.1: CocoMetric's AP of each class is that of another class if a file's categories are not by rising id.
#
# classwise=True gives the AP of each class under its name. One would guess that it goes by the category. Seen: it goes by
# the place in the file, while pycocotools has sorted the ids on the way, so that in a file whose first category has id 2
# and its second id 1, the class that is always found has AP 0 and the one that never is has AP 1. Their mean is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 onedl-mmdetection==3.5.1 onedl-mmengine==0.10.12 onedl-mmcv==2.3.6 \
  pycocotools==2.0.11 setuptools==80.9.0 numpy==2.2.6
"$folder/env/bin/pip" install -q --no-deps --force-reinstall opencv-python-headless==4.12.0.88
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import contextlib, io, json, logging
from importlib.metadata import version
from pathlib import Path

import torch
from mmdet.evaluation.metrics import CocoMetric

logging.disable(logging.CRITICAL)
box = [10, 10, 40, 40]
result = dict(bboxes=torch.tensor([[100.0, 100, 140, 140], [10, 10, 50, 50]]), scores=torch.tensor([0.8, 0.9]),
              labels=torch.tensor([0, 1]))  # in the order of dataset_meta's classes
seen = {}
for ids in ([1, 2], [2, 1]):
    truth = dict(images=[dict(id=1, file_name='1.jpg', width=200, height=200)],
                 categories=[dict(id=n, name=name) for n, name in zip(ids, ('missed', 'found'))],
                 annotations=[dict(id=n, image_id=1, category_id=n, bbox=box, area=1600, iscrowd=0) for n in ids])
    Path('truth.json').write_text(json.dumps(truth))
    with contextlib.redirect_stdout(io.StringIO()):
        metric = CocoMetric(ann_file='truth.json', metric='bbox', classwise=True)
        metric.dataset_meta = dict(classes=('missed', 'found'))
        metric.process({}, [dict(img_id=1, ori_shape=(200, 200), pred_instances=result)])
        figures = metric.evaluate(1)
    seen[tuple(ids)] = {name: float(figures[f'coco/{name}_precision']) for name in ('missed', 'found')}
    seen[tuple(ids)]['mean'] = float(figures['coco/bbox_mAP'])
print('onedl-mmdetection', version('onedl-mmdetection'), 'pycocotools', version('pycocotools'))
for ids, figures in seen.items():
    print('AP where the file lists ids', ids, figures)
assert seen[1, 2] == {'missed': 0.0, 'found': 1.0, 'mean': 0.5}, seen
assert seen[2, 1] == {'missed': 1.0, 'found': 0.0, 'mean': 0.5}, 'each class has its own AP now'
PYTHON
