#!/usr/bin/env bash
# transformers 5.23.0: a configuration whose id2label leaves out ids has as many outputs as names, not as its largest id asks.
#
# COCO's ids run to 90, with gaps. One would guess that id2label={1: 'person', 3: 'car', 90: 'toothbrush'} makes a detector
# that can report label 90, or that num_labels=91 beside it does. Seen: 3 labels, 0 to 2, of which two have no name, and
# 90 is never found; with num_labels=91 the names are replaced by LABEL_0 to LABEL_90. Hence the 'N/A' of released models.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 transformers==5.23.0 numpy==2.2.6 pillow==13.0.0
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import torch, transformers
from transformers import YolosConfig, YolosForObjectDetection

names = {1: 'person', 3: 'car', 90: 'toothbrush'}
small = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=[64, 64],
             num_detection_tokens=5)
model = YolosForObjectDetection(YolosConfig(id2label=names, **small)).eval()
outputs = model(torch.zeros(1, 3, 64, 64)).logits.shape[-1] - 1  # the last one is "no object"
both = YolosConfig(id2label=names, num_labels=91, **small)
print('transformers', transformers.__version__)
print('id2label', names, '->', outputs, 'labels, without a name:', sorted(set(range(outputs)) - set(names)))
print('with num_labels=91: label 90 is', both.id2label[90])
assert model.config.num_labels == outputs == 3, 'the largest id counts now'
assert both.id2label[90] == 'LABEL_90', 'names stay beside num_labels now'
PYTHON
