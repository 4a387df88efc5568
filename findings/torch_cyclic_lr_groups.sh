#!/usr/bin/env bash
# torch 2.13.0: CyclicLR with one base_lr and one max_lr gives every parameter group the same rate.
#
# An optimizer whose biases have twice the rate keeps that ratio under LambdaLR, CosineAnnealingLR, LinearLR and StepLR, which
# multiply or start from each group's own rate. CyclicLR sets all groups to base_lr when it is made, without a word, and from then
# on the second rate is gone; a list of rates, one a group, would keep it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 numpy==2.2.6
"$folder/env/bin/python" -W error::DeprecationWarning - <<'PYTHON'
import torch
from torch.optim import lr_scheduler

SCHEDULERS = {
    'LambdaLR': lambda o: lr_scheduler.LambdaLR(o, lambda step: 0.1 + 0.1 * step),
    'CosineAnnealingLR': lambda o: lr_scheduler.CosineAnnealingLR(o, 10),
    'LinearLR': lambda o: lr_scheduler.LinearLR(o, 0.1, total_iters=10),
    'StepLR': lambda o: lr_scheduler.StepLR(o, 2),
    'CyclicLR': lambda o: lr_scheduler.CyclicLR(
        o, 0.05, 1.0, step_size_up=5, cycle_momentum=False
    ),
}
print('torch', torch.__version__)
ratios = {}
for name, make in SCHEDULERS.items():
    weight, bias = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    optimizer = torch.optim.SGD([dict(params=[weight], lr=1.0), dict(params=[bias], lr=2.0)])
    scheduler, seen = make(optimizer), set()
    for _ in range(4):
        first, second = (group['lr'] for group in optimizer.param_groups)
        seen.add(round(second / first, 6))
        optimizer.step()
        scheduler.step()
    ratios[name] = seen
    print(f'{name}: rate of the second group over the first: {sorted(seen)}')
assert ratios.pop('CyclicLR') == {1.0}, 'CyclicLR keeps the rates of groups now'
assert all(seen == {2.0} for seen in ratios.values())
PYTHON
