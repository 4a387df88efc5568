#!/usr/bin/env bash
# transformers 5.23.0: asked by an example image, OWL-ViT and OWLv2 give the best box of every picture the score 1.
#
# Each box has a probability, and one would guess that post_process_image_guided_detection returns it, as the post-processing of names
# does: a picture without the thing has low scores. Seen: scores are stretched so that the picture's best box has 1 and a tenth
# of its probability has 0. A picture whose best probability is 0.02 is reported with 1.0; a box of probability 0.085 is
# reported with 0.08 beside one of 0.5 and dropped beside one of 0.9, though the threshold is 0.05: that compares probabilities,
# before the stretching.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 transformers==5.23.0 numpy==2.2.6 pillow==12.3.0
cd "$folder"
TRANSFORMERS_VERBOSITY=error "$folder/env/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import torch
from transformers import Owlv2ImageProcessorPil, OwlViTImageProcessorPil
from transformers.models.owlv2.modeling_owlv2 import Owlv2ImageGuidedObjectDetectionOutput

pictures = [(0.9, 0.5), (0.02, 0.01), (0.5, 0.085), (0.9, 0.085)]  # probabilities of two boxes that do not overlap
logits = torch.logit(torch.tensor(pictures))[..., None]
boxes = torch.tensor([[0.2, 0.5, 0.1, 0.1], [0.7, 0.5, 0.1, 0.1]]).expand(len(pictures), 2, 4)
print('transformers', version('transformers'), 'torch', version('torch'))
for processor in (Owlv2ImageProcessorPil(), OwlViTImageProcessorPil()):
    print(type(processor).__name__)
    seen = []
    for threshold in (0.0, 0.05):
        outputs = Owlv2ImageGuidedObjectDetectionOutput(logits=logits.clone(), target_pred_boxes=boxes.clone())
        found = processor.post_process_image_guided_detection(outputs, threshold=threshold)
        seen.append([[round(float(score), 2) for score in one['scores']] for one in found])
        for given, scores in zip(pictures, seen[-1]):
            print(f'  threshold {threshold}: probabilities {given}, scores {scores}')
    assert seen[0] == [[1.0, 0.51], [1.0, 0.44], [1.0, 0.08], [1.0]], seen
    assert seen[1] == [[1.0, 0.51], [], [1.0, 0.08], [1.0]], seen
PYTHON
