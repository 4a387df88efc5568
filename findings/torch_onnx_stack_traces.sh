#!/usr/bin/env bash
# torch 2.13.0, onnxscript 0.7.2: a model that torch.onnx.export writes names the files of the machine that exported it.
#
# One would guess that an .onnx file holds weights and operators. Each node has the Python stack of its line as metadata as well,
# with paths and lines of source code; so has a program of torch.export.save.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 numpy==2.2.6 onnx==1.23.2 onnxscript==0.7.2
cat > "$folder/private_module.py" <<'PYTHON'
import torch


class Model(torch.nn.Module):
    def forward(self, x):
        return x.relu() + 1  # a remark of ours
PYTHON
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON' 2>/dev/null
import zipfile

import onnx
import onnxscript
import torch
from private_module import Model

print('torch', torch.__version__, 'onnxscript', onnxscript.__version__)
program = torch.export.export(Model(), (torch.zeros(3),))
torch.export.save(program, 'model.pt2')
torch.onnx.export(program, f='model.onnx', verbose=False)
graph = onnx.load('model.onnx').graph
notes = {p.key: p.value for node in graph.node for p in node.metadata_props}
trace = notes.get('pkg.torch.onnx.stack_trace', '')
print('metadata of a node:', sorted(notes))
print(trace)
with zipfile.ZipFile('model.pt2') as archive:
    saved = b''.join(archive.read(name) for name in archive.namelist())
print('in the .pt2 file:', b'private_module.py' in saved)
assert 'private_module.py' in trace and 'a remark of ours' in trace, 'nothing of the kind now'
assert b'private_module.py' in saved
PYTHON
