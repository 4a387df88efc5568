#!/usr/bin/env bash
# torchmetrics 1.9.0: IntersectionOverUnion of a perfect detector is 0.2 where a picture has five objects of a class.
#
# The documentation gives the metric's inputs and arguments and says that respect_labels=False computes it "between all pairs of
# boxes"; for a detector that finds every object exactly one would guess 1. Seen: boxes are not matched, and the metric is the mean
# over all pairs of a prediction and an object with one label, those that have nothing to do with each other included: 1 / n for n
# objects apart, and below 0 for GeneralizedIntersectionOverUnion. A detector that finds one of the five has 0.2 as well, and with
# iou_threshold=0.5 both have 1. The function intersection_over_union pairs boxes by their order: the same boxes from right to left
# have 0.2.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 numpy==2.2.6 torchmetrics==1.9.0
"$folder/env/bin/pip" install -q --no-deps torchvision==0.28.0 pillow==13.0.0
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import torch

try:
    import torchvision
except RuntimeError:  # built for another PyTorch: it imports with these two operators declared, and none is used here
    for name in ('nms', 'qnms'):
        torch.library.define(f'torchvision::{name}', '(Tensor dets, Tensor scores, float threshold) -> Tensor')
import torchmetrics
from torchmetrics.detection import GeneralizedIntersectionOverUnion, IntersectionOverUnion
from torchmetrics.functional.detection import intersection_over_union


def row(count):
    """That many objects of one class, side by side with gaps."""
    left = 100.0 * torch.arange(count)
    return torch.stack([left, torch.zeros(count), left + 50, torch.full((count,), 50.0)], 1)


def score(metric, found, objects):
    one = torch.ones
    return round(float(list(metric([dict(boxes=found, labels=one(len(found), dtype=torch.long))],
                                   [dict(boxes=objects, labels=one(len(objects), dtype=torch.long))]).values())[0]), 3)


print('torchmetrics', torchmetrics.__version__, 'torch', torch.__version__)
for count in (1, 2, 5):
    objects = row(count)
    plain, general = score(IntersectionOverUnion(), objects, objects), score(GeneralizedIntersectionOverUnion(), objects, objects)
    print(count, 'objects of a class, found exactly: IoU', plain, 'GIoU', general)
    assert plain == round(1 / count, 3), 'boxes are matched now'
    assert (general < 0) == (count == 5), general
objects = row(5)
for limit in (None, 0.5):
    whole, missing = (score(IntersectionOverUnion(iou_threshold=limit), found, objects) for found in (objects, objects[:1]))
    print(f'iou_threshold={limit}: all five found exactly {whole}, only one of them {missing}')
    assert (whole, missing) == ((0.2, 0.2) if limit is None else (1.0, 1.0)), (whole, missing)
in_order = round(float(intersection_over_union(objects, objects)), 3)
reversed_order = round(float(intersection_over_union(objects.flip(0), objects)), 3)
print('intersection_over_union of the five, in the order of the objects:', in_order, 'from the right:', reversed_order)
assert (in_order, reversed_order) == (1.0, 0.2), (in_order, reversed_order)
PYTHON
