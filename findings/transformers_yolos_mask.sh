#!/usr/bin/env bash
# transformers 5.23.0: YOLOS takes the pixel_mask that its processor returns, and does nothing with it.
#
# Pictures of a batch are padded to one size, and the processor says with pixel_mask what is padding. DETR reads it.
# YolosForObjectDetection accepts it too, so one would guess the same. Seen: with the mask, without, and with a mask of
# zeros the boxes are the same; padding is looked at like a picture, and boxes move by what is beside it in the batch.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 transformers==5.23.0 numpy==2.2.6 pillow==13.0.0
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import numpy as np, torch, transformers
from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessorPil

torch.manual_seed(0)
model = YolosForObjectDetection(YolosConfig(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=[96, 96],
    num_detection_tokens=5)).eval()
for name, weight in model.named_parameters():
    if weight.ndim > 1:
        torch.nn.init.normal_(weight, std=0.3)
processor = YolosImageProcessorPil(do_resize=False)
draw = np.random.default_rng(0).integers
small, large = (draw(0, 256, (side, side, 3), np.uint8) for side in (64, 160))


@torch.no_grad()
def boxes(**inputs):
    outputs, sizes = model(**inputs), [(64, 64), (160, 160)][:len(inputs['pixel_values'])]
    return processor.post_process_object_detection(outputs, threshold=0.0, target_sizes=sizes)[0]['boxes']


alone = boxes(**processor([small], return_tensors='pt'))
batch = processor([small, large], return_tensors='pt')
padded = boxes(**batch)
print('transformers', transformers.__version__)
print('padding of the first picture, by the mask:', int((batch['pixel_mask'][0] == 0).sum()), 'pixels')
print(f'its boxes move by {float((padded - alone).abs().max()):.2f} of 64 pixels')
assert torch.equal(padded, boxes(pixel_values=batch['pixel_values'])), 'the mask is read now'
assert torch.equal(padded, boxes(**batch | dict(pixel_mask=torch.zeros_like(batch['pixel_mask'])))), 'it is read now'
assert (padded - alone).abs().max() > 0.1, 'padding changes nothing now'
PYTHON
