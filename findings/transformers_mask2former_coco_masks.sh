#!/usr/bin/env bash
# transformers 5.23.0: COCO masks of Mask2Former's instance post-processing begin with the background's, one place off their labels.
#
# The docstring of post_process_instance_segmentation says: if instances could overlap, set return_coco_annotation or
# return_binary_maps "to get the correct segmentation result". One would guess that the list of run lengths then goes with the list
# segments_info, one mask for each, as the stack of binary maps does. Seen for three objects: four masks, of which the first is
# everything that is no object, so that zip() gives each label the mask before its own and drops the last; in a picture without
# background the same list has three. They are cut out of one painted map (convert_segmentation_to_rle): where two objects overlap,
# the one that comes later has the pixels, here the worse one. And their numbers are pairs of start and length by rows, from 1, not
# COCO's counts by columns. MaskFormer's post-processing does the same.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 transformers==5.23.0 numpy==2.2.6 pillow==13.0.0
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import torch, transformers
from transformers import Mask2FormerImageProcessorPil, MaskFormerImageProcessorPil
from transformers.models.mask2former.modeling_mask2former import Mask2FormerForUniversalSegmentationOutput

side, names = 384, ['cat', 'dog', 'cup']
rectangles = [(8, 8, 40, 40), (24, 24, 56, 72), (60, 8, 80, 16)]  # cat and dog share 16 x 16 pixels
masks = torch.full((1, 3, side, side), -20.0)
for query, (x1, y1, x2, y2) in enumerate(rectangles):
    masks[0, query, y1:y2, x1:x2] = 20.0
classes = torch.full((1, 3, 4), -20.0)
classes[0, range(3), range(3)] = torch.tensor([3.0, 2.0, 4.0])
classes[0, :, 3] = 0.0
outputs = Mask2FormerForUniversalSegmentationOutput(class_queries_logits=classes, masks_queries_logits=masks)


def pixels(pairs):
    """The set of pixels, numbered by rows, that pairs of start and length name."""
    return {pixel for start, length in zip(pairs[::2], pairs[1::2]) for pixel in range(start - 1, start - 1 + length)}


print('transformers', transformers.__version__)
for processor in (Mask2FormerImageProcessorPil(), MaskFormerImageProcessorPil()):
    def result(outputs=outputs, **options):
        return processor.post_process_instance_segmentation(outputs, target_sizes=[(side, side)], **options)[0]

    binary, coco = result(return_binary_maps=True), result(return_coco_annotation=True)
    labels = [names[info['label_id']] for info in coco['segments_info']]
    whole = {name: int(area) for name, area in zip(labels, binary['segmentation'].flatten(1).sum(1))}
    zipped = {name: len(pixels(pairs)) for name, pairs in zip(labels, coco['segmentation'])}
    shifted = {name: len(pixels(pairs)) for name, pairs in zip(labels, coco['segmentation'][1:])}
    print(type(processor).__name__, '- names', labels, '- COCO masks:', len(coco['segmentation']))
    print('  pixels of the binary maps  ', whole)
    print('  of the COCO masks, zipped  ', zipped)
    print('  without the first COCO mask', shifted)
    assert whole == dict(cat=1024, dog=1536, cup=160), whole
    assert len(coco['segmentation']) == 4, 'the background is no mask now'
    background = side * side - (1024 + 1536 - 256) - 160
    assert zipped[labels[0]] == background, zipped
    assert shifted == dict(cat=1024 - 256, dog=1536, cup=160), shifted
    column = coco['segmentation'][1 + labels.index('cup')]
    rows = [[8 * side + 60 + 1 + side * row, 20] for row in range(8)]
    assert column == [number for row in rows for number in row], 'counts by columns now'

    full = masks.clone()
    full[0, 2] = 20.0
    filled = Mask2FormerForUniversalSegmentationOutput(class_queries_logits=classes, masks_queries_logits=full)
    count = len(result(filled, return_coco_annotation=True)['segmentation'])
    print('  COCO masks of three objects, one of which fills the picture:', count)
    assert count == 3, count
PYTHON
