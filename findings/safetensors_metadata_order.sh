#!/usr/bin/env bash
# safetensors 0.8.0: the same tensors with the same metadata of several entries are other bytes each time.
#
# One would guess that equal content gives equal files. Seen: the entries of the metadata come in another order at every call,
# so that digests of files differ; with a single entry they do not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q safetensors==0.8.0 numpy==2.2.6
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import numpy as np
import safetensors
from safetensors.numpy import save

tensors = {'a': np.zeros(3, np.float32)}
counts = {
    entries: len({save(tensors, {f'key{i}': str(i) for i in range(entries)}) for _ in range(100)}) for entries in (1, 2, 6)
}
print('safetensors', safetensors.__version__, 'different files of 100, by entries:', counts)
assert counts[1] == 1
assert counts[2] > 1 and counts[6] > 1, 'the order is fixed now'
PYTHON
