#!/usr/bin/env bash
# pycocotools 2.0.11: mask.area takes 255 masks in one call, and no more.
#
# Functions of pycocotools.mask take one mask or a list of any length, and one would guess that area does, as toBbox and iou beside it
# do. Seen with NumPy 2: OverflowError from 256 masks on, as it counts the list in eight bits. A script that measures
# the masks of each picture in one call runs until a picture has more, as results of LVIS with 300 detections do. One by one it works.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q pycocotools==2.0.11 numpy==2.2.6
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from pycocotools import mask as masks

pixels = np.zeros((40, 40), np.uint8)
pixels[:, :10] = 1
code = masks.encode(np.asfortranarray(pixels))
print('pycocotools', version('pycocotools'), 'numpy', np.__version__)
seen = {}
for count in (1, 255, 256, 300):
    try:
        seen[count] = masks.area([code] * count).tolist() == [400] * count
    except OverflowError as error:
        seen[count] = f'OverflowError: {error}'
    boxes = masks.toBbox([code] * count).shape
    print(count, 'masks: right areas', seen[count], '; shape of toBbox', boxes)
    assert boxes == (count, 4), boxes
assert [masks.area(one) for one in [code] * 300] == [400] * 300
assert seen[1] is True and seen[255] is True, seen
assert all('OverflowError' in str(seen[count]) for count in (256, 300)), 'longer lists work now'
PYTHON
