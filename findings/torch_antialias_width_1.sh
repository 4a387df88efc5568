#!/usr/bin/env bash
# torch 2.13.0: F.interpolate(mode='bilinear', antialias=True) on a CPU gives wrong values where the output has one column.
#
# Resampling is separable: one would guess that (32, 1) is the product of the two one-dimensional resamplings, whatever the
# memory format. With channels_last it is. With a contiguous input it is not, whenever the height changes too; (1, 32) is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 numpy==2.2.6
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import torch
import torch.nn.functional as F

options = dict(mode='bilinear', antialias=True)


def weights(size):
    return F.interpolate(torch.eye(16)[None, None], (size, 16), **options)[0, 0]


print('torch', torch.__version__)
x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
off = {}
for size in [(32, 1), (8, 1), (16, 1), (32, 2), (1, 32)]:
    expected = torch.einsum('hi,bcij,wj->bchw', weights(size[0]), x, weights(size[1]))
    contiguous = F.interpolate(x, size, **options)
    last = F.interpolate(x.contiguous(memory_format=torch.channels_last), size, **options)
    off[size] = [float((y - expected).abs().max()) for y in (contiguous, last)]
    print(size, 'contiguous off by {:.2g}, channels_last by {:.2g}'.format(*off[size]))
assert max(off[size][0] for size in [(16, 1), (32, 2), (1, 32)]) < 1e-5
assert max(last for _, last in off.values()) < 1e-5
assert off[32, 1][0] > 0.1 and off[8, 1][0] > 0.1, 'one column is right now'
PYTHON
