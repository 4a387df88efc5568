#!/usr/bin/env bash
# torch 2.13.0 on a CPU: a generator reads the lowest 32 bits of its seed, and says that it has the whole one.
#
# manual_seed takes 64 bits and initial_seed() gives them back, so one would guess that (run << 40) + step gives every run numbers of
# its own. Seen: seeds that are equal in their lowest 32 bits give the same numbers, from rand and randperm, by a generator of their
# own and by torch.manual_seed. Three runs with seeds 0, 1 and 2 that are placed above the 32nd bit are one run. NumPy's SeedSequence
# takes several integers of any size and mixes them into 32 bits.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 numpy==2.2.6
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import torch

STEP = 5


def draws(seed):
    own = torch.Generator('cpu').manual_seed(seed)
    assert own.initial_seed() == seed
    torch.manual_seed(seed)
    return [
        *torch.rand(3, generator=own).tolist(),
        *torch.randperm(6, generator=own).tolist(),
        *torch.rand(2).tolist(),
    ]


print('torch', torch.__version__, 'numpy', np.__version__)
above = [draws((run << 40) + STEP) for run in range(3)]
below = [draws((run << 20) + STEP) for run in range(3)]
mixed = [
    draws(int(np.random.SeedSequence((run, STEP)).generate_state(1)[0]))
    for run in range(3)
]
for name, runs in (('run << 40', above), ('run << 20', below), ('mixed', mixed)):
    different = len({tuple(run) for run in runs})
    print(f'{name:9} first numbers {[round(r[0], 4) for r in runs]}, {different} of 3 differ')
assert above[0] == above[1] == above[2]
assert len({tuple(run) for run in below}) == len({tuple(run) for run in mixed}) == 3
PYTHON
