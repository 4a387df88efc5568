#!/usr/bin/env bash
# torch 2.13.0: AdamW(fused=True) on a CPU changes a parameter in place and leaves its version counter as it was.
#
# A cache that is keyed by tensor._version, which every in-place operation raises, one would guess to notice a training
# step. With AdamW(fused=False) it does. With fused=True the values change and the counter does not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 numpy==2.2.6
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import torch

print('torch', torch.__version__)
raised = {}
for fused in (False, True):
    weight = torch.nn.Parameter(torch.ones(4))
    optimizer = torch.optim.AdamW([weight], lr=0.1, fused=fused)
    weight.sum().backward()
    before, values = weight._version, weight.detach().clone()
    optimizer.step()
    assert not torch.equal(weight.detach(), values)
    raised[fused] = weight._version - before
    print(f'fused={fused}: values changed, version counter raised by {raised[fused]}')
assert raised[False] > 0
assert raised[True] == 0, 'the fused step raises the counter now'
PYTHON
