#!/usr/bin/env bash
# kornia 0.9.0: boxes that Resize enlarges are too small, and corners move by a pixel against a picture that is flipped.
#
# AugmentationSequential takes boxes as bbox_xywh and bbox_xyxy beside a picture. One would guess that a picture enlarged four
# times has boxes four times as large, and that x1, y1, x2, y2 mean edges, as in COCO's boxes turned into corners, torchvision and
# the detectors one trains. Seen: a box of 4 x 4 pixels, enlarged four times with its picture, is 13.1 wide where the object has 16
# pixels (IoU 0.67), as the centres of its outer pixels are moved and the halves beyond them are not enlarged; reduced, boxes come
# out too large. bbox_xyxy and vertices are right in size and off in place: a flip moves them by a pixel against the picture, so
# that a box of 4 pixels has IoU 0.6 with its object. The docstring says that boxes are inclusive (xyxy_plus), flips map x to W - 1
# - x.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 numpy==2.2.6 kornia==0.9.0
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import kornia
import kornia.augmentation as K
import torch


def overlap(first, second):
    left, top, right, bottom = (max(first[0], second[0]), max(first[1], second[1]),
                                min(first[2], second[2]), min(first[3], second[3]))
    both = max(right - left, 0) * max(bottom - top, 0)
    one, other = ((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return round(both / (one + other - both), 2)


def moved(augmentation, key, side, corners):
    """Edges of the object in the new picture, and of the box that comes with it."""
    x1, y1, x2, y2 = corners
    picture = torch.zeros(1, 3, side, side)
    picture[..., y1:y2, x1:x2] = 1.0
    box = [x1, y1, x2 - x1, y2 - y1] if key == 'bbox_xywh' else corners
    changed, boxes = K.AugmentationSequential(augmentation, data_keys=['input', key])(picture, torch.tensor([[box]]).float())
    rows, columns = torch.nonzero(changed[0, 0] > 0.5, as_tuple=True)
    found = boxes.flatten().tolist()
    if key == 'bbox_xywh':
        found[2:] = [found[0] + found[2], found[1] + found[3]]
    return [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1], [round(edge, 2) for edge in found]


print('kornia', kornia.__version__, 'torch', torch.__version__)
seen = {}
small, large = [16, 8, 20, 12], [16, 8, 32, 24]
for name, augmentation, side, corners in (
        ('Resize 64 to 256', K.Resize((256, 256)), 64, small), ('Resize 256 to 64', K.Resize((64, 64)), 256, large),
        ('RandomHorizontalFlip', K.RandomHorizontalFlip(p=1.0), 64, small),
        ('RandomVerticalFlip', K.RandomVerticalFlip(p=1.0), 64, small),
        ('RandomRotation90', K.RandomRotation90(times=(2, 2), p=1.0), 64, small)):
    for key in ('bbox_xywh', 'bbox_xyxy'):
        thing, box = moved(augmentation, key, side, corners)
        seen[name, key] = overlap(thing, box)
        print(f'{name:20} {key} object {thing} box {box} IoU {seen[name, key]}')
assert seen['Resize 64 to 256', 'bbox_xywh'] == 0.67, 'sides are enlarged as the picture is now'
assert seen['Resize 256 to 64', 'bbox_xywh'] < 0.75, 'sides are reduced as the picture is now'
for name in ('RandomHorizontalFlip', 'RandomVerticalFlip'):
    assert seen[name, 'bbox_xywh'] == 1.0, seen
    assert seen[name, 'bbox_xyxy'] == 0.6, 'corners are edges now'
assert seen['RandomRotation90', 'bbox_xywh'] > 0.99, seen
assert seen['RandomRotation90', 'bbox_xyxy'] < 0.5, seen
PYTHON
