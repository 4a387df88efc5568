#!/usr/bin/env bash
# transformers 5.23.0: DETR's processor gives boxes in parts of the padded batch, its post-processing reads parts of the picture.
#
# Pictures of a batch are padded to one size. The processor turns annotations into training targets from 0 to 1, and
# post_process_object_detection turns a model's boxes from 0 to 1 into pixels of target_sizes, which its page calls the size of each
# picture of the batch. One would guess that the second undoes the first. Seen: alone a picture's box comes back; beside a picture
# of another shape it is squeezed to half its height or width, as its target was divided by the side of the padding too. So the
# target of a picture depends on what is beside it, and a model that has learned such targets perfectly gives wrong boxes in a batch.
# DETR's authors train on parts of the picture instead. Seen with the processors of DETR, Conditional and Deformable DETR, Grounding
# DINO and YOLOS, and not with RT-DETR's, which does not pad.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 transformers==5.23.0 numpy==2.2.6 pillow==13.0.0
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
from types import SimpleNamespace

import numpy as np, torch, transformers

BOX = [10.0, 20.0, 70.0, 90.0]
SIZES = [(100, 200), (200, 100)]
PICTURES = [np.zeros((height, width, 3), np.uint8) for height, width in SIZES]
annotation = dict(id=1, image_id=1, category_id=1, bbox=[10, 20, 60, 70], area=4200, iscrowd=0)


def back(processor, places):
    """Boxes of a model whose answer is its target."""
    batch = processor(
        [PICTURES[place] for place in places],
        annotations=[dict(image_id=place, annotations=[annotation]) for place in places], return_tensors='pt')
    boxes = torch.stack([labels['boxes'] for labels in batch['labels']])
    logits = torch.full((len(places), 1, 3), -9.0)
    logits[:, :, 1] = 9
    found = processor.post_process_object_detection(
        SimpleNamespace(logits=logits, pred_boxes=boxes), threshold=0.5, target_sizes=[SIZES[place] for place in places])
    return [[round(side) for side in one['boxes'][0].tolist()] for one in found]


print('transformers', transformers.__version__, 'the box of both pictures is', [round(side) for side in BOX])
for name in ('Detr', 'ConditionalDetr', 'DeformableDetr', 'GroundingDino', 'Yolos', 'RTDetr'):
    processor = getattr(transformers, f'{name}ImageProcessorPil')()
    alone, together = [back(processor, [place])[0] for place in (0, 1)], back(processor, [0, 1])
    print(f'{name:16} alone {alone} together {together}')
    assert alone == [BOX, BOX], alone
    if name == 'RTDetr':
        assert together == [BOX, BOX], together
    else:
        first, second = together
        assert first[::2] == [10, 70] and first[3] < 50, 'boxes are parts of the picture now'
        assert second[1::2] == [20, 90] and second[2] < 40, 'boxes are parts of the picture now'
PYTHON
