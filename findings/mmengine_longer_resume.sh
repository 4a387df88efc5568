#!/usr/bin/env bash
# onedl-mmengine 0.10.12 with torch 2.13.0: a scheduler's state_dict holds its length, and loading puts it back.
#
# A run of 3 epochs with CosineAnnealingLR over 3 epochs is finished, and resumed with 6 epochs and a cosine over 6.
# One would guess that epochs 4 to 6 follow the second half of the longer cosine: 0.5, 0.25, 0.067 of the rate.
# Seen: T_max is 3 again after loading, epoch 4 starts at the floor, and the rate then rises: the cosine turns back.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 onedl-mmengine==0.10.12 setuptools==84.2.1
"$folder/env/bin/pip" install -q --no-deps --force-reinstall opencv-python-headless==4.12.0.88
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import logging
import mmengine, torch
from mmengine.optim import OptimWrapper
from mmengine.optim.scheduler import CosineAnnealingLR


def run(epochs, state=None, start=0):
    """Rates of the epochs from `start` on, as mmengine's ParamSchedulerHook steps them."""
    wrapper = OptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0))
    scheduler = CosineAnnealingLR(wrapper, T_max=epochs, end=epochs)
    if state is not None:
        wrapper.load_state_dict(state['optimizer'])
        scheduler.load_state_dict(state['scheduler'])
    rates = []
    for _ in range(start, epochs):
        rates.append(round(wrapper.get_lr()['lr'][0], 3))
        wrapper.optimizer.step()
        scheduler.step()
    return rates, dict(optimizer=wrapper.state_dict(), scheduler=scheduler.state_dict()), scheduler


whole, _, _ = run(6)
_, state, _ = run(3)
resumed, _, scheduler = run(6, state, start=3)
print('mmengine', mmengine.__version__, '- torch', torch.__version__)
print('six epochs at once:      ', whole)
print('three, resumed with six: ', '[...]', resumed)
print('T_max after the resume:  ', scheduler.T_max)
assert whole[3:] == [0.5, 0.25, 0.067], whole
assert scheduler.T_max == 3, 'loading keeps the new length now'
assert resumed[0] == 0.0, resumed
PYTHON
