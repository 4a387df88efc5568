#!/usr/bin/env bash
# ultralytics 8.4.190: a validation with save_json ends at an image that is called 三.jpg, ½.jpg or ².jpg.
#
# save_json writes the file's name as image_id, as a number where it is one: int(stem) if stem.isnumeric(). Chinese numerals,
# fractions and raised digits are numeric to Python, but no numbers to int(). Seen: ValueError, after the network has run; the
# same line stands in the validations of turned boxes and of the Comet callback. str.isdecimal() would be the test.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q ultralytics==8.4.190 torch==2.13.0
cd "$folder"
YOLO_CONFIG_DIR="$folder" "$folder/env/bin/python" -W ignore - <<'PYTHON'
import sys, types
from importlib.machinery import ModuleSpec
from importlib.metadata import version

try:
    import torchvision
except (ImportError, RuntimeError):  # built for another PyTorch; nothing of it is used here
    sys.modules['torchvision'] = types.ModuleType('torchvision')
    sys.modules['torchvision'].__version__ = version('torchvision')
    sys.modules['torchvision'].__spec__ = ModuleSpec('torchvision', None)

import torch
from ultralytics.models.yolo.detect import DetectionValidator

validator = DetectionValidator(args=dict(save_json=True))
validator.jdict, validator.class_map = [], [1]
found = dict(bboxes=torch.tensor([[1.0, 2, 3, 4]]), conf=torch.tensor([0.9]), cls=torch.tensor([0.0]))
seen = {}
for name in ('7.jpg', 'cat.jpg', '三.jpg', '½.jpg', '².jpg'):
    try:
        validator.pred_to_json(found, dict(im_file=f'images/{name}'))
        seen[name] = validator.jdict[-1]['image_id']
    except ValueError as error:
        seen[name] = str(error)
print('ultralytics', version('ultralytics'), 'image_id by name:', seen)
assert seen['7.jpg'] == 7 and seen['cat.jpg'] == 'cat', seen
assert all('invalid literal for int()' in str(seen[name]) for name in ('三.jpg', '½.jpg', '².jpg')), 'such names are kept now'
PYTHON
