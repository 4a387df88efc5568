#!/usr/bin/env bash
# onedl-mmengine 0.10.12: paramwise_cfg=dict(bias_decay_mult=0) applies to parameters that are called exactly 'bias'.
#
# A learned temperature and bias of a CLIP-like classifier are called logit_scale and logit_bias. One would guess that the
# option for biases covers logit_bias. Seen: it decays on, while the bias of a linear layer beside it does not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 onedl-mmengine==0.10.12 setuptools==84.2.1
"$folder/env/bin/pip" install -q --no-deps --force-reinstall opencv-python-headless==4.12.0.88
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import mmengine, torch
from mmengine.optim import build_optim_wrapper
from torch import nn


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(4, 4)
        self.logit_scale = nn.Parameter(torch.ones(1))
        self.logit_bias = nn.Parameter(torch.zeros(1))


model = Classifier()
wrapper = build_optim_wrapper(model, dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.05),
    paramwise_cfg=dict(bias_decay_mult=0.0)))
names = {id(p): name for name, p in model.named_parameters()}
decay = {names[id(p)]: group['weight_decay'] for group in wrapper.param_groups for p in group['params']}
print('mmengine', mmengine.__version__, decay)
assert decay['project.bias'] == 0.0
assert decay['logit_bias'] == 0.05, 'logit_bias counts as a bias now'
PYTHON
