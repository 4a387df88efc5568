#!/usr/bin/env bash
# torchvision 0.28.0: boxes of whole pixels move by a pixel when their format is converted to centres and back.
#
# tv_tensors.BoundingBoxes of a list of integers has an integer type, as corners of VOC files have that
# wrap_dataset_for_transforms_v2 reads. One would guess that ConvertBoundingBoxFormat either keeps halves or says that it cannot.
# Seen: it stays with integers, so that the centre of an odd side loses its half, and XYXY to CXCYWH and back takes both corners a
# pixel to the left and up; a box of 5 x 5 pixels has IoU 0.47 with itself. Resize cuts the corners' fractions off, so that boxes
# go left and up, too. Given dtype=torch.float32 boxes come back as they were.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 numpy==2.2.6
"$folder/env/bin/pip" install -q --no-deps torchvision==0.28.0 pillow==13.0.0
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import torch

try:
    import torchvision
except RuntimeError:  # built for another PyTorch: it imports with these two operators declared, and none is used here
    for name in ('nms', 'qnms'):
        torch.library.define(f'torchvision::{name}', '(Tensor dets, Tensor scores, float threshold) -> Tensor')
from torchvision.transforms import v2
from torchvision.tv_tensors import BoundingBoxes

CORNERS = [[3, 3, 8, 8], [10, 20, 41, 60]]


def overlap(first, second):
    left, top, right, bottom = (max(first[0], second[0]), max(first[1], second[1]),
                                min(first[2], second[2]), min(first[3], second[3]))
    both = (right - left) * (bottom - top)
    one, other = ((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return round(both / (one + other - both), 2)


print('torchvision', version('torchvision'), 'corners', CORNERS, 'in a picture of 100 x 100')
there_and_back = v2.Compose([v2.ConvertBoundingBoxFormat('CXCYWH'), v2.ConvertBoundingBoxFormat('XYXY')])
seen = {}
for kind in (None, torch.float32):
    boxes = BoundingBoxes(CORNERS, format='XYXY', canvas_size=(100, 100), dtype=kind)
    back, resized = there_and_back(boxes).tolist(), v2.Resize((75, 75))(boxes).tolist()
    seen[kind] = back
    print(boxes.dtype, 'by way of centres', back, 'IoU', [overlap(*pair) for pair in zip(CORNERS, back)],
          'resized to 75 x 75', resized)
assert seen[torch.float32] == CORNERS, seen
assert seen[None] == [[2, 2, 7, 7], [9, 20, 40, 60]], 'whole pixels stay now'
PYTHON
