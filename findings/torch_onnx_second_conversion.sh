#!/usr/bin/env bash
# torch 2.13.0, onnxscript 0.7.2: a program of torch.export with a shape that depends on values converts to ONNX once.
#
# torch.onnx.export takes an ExportedProgram, and one would guess that it leaves it as it is: to write a second file, as with
# another opset. The second call fails with PendingUnbackedSymbolNotFound. A program without such shapes converts twice.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 numpy==2.2.6 onnx==1.23.2 onnxscript==0.7.2
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON' 2>/dev/null
import onnxscript
import torch


class Chosen(torch.nn.Module):
    def forward(self, x):
        rows = (x > 0).nonzero()[:, 0]
        return torch.zeros_like(x).index_put((rows,), x[rows] * 2)


class Plain(torch.nn.Module):
    def forward(self, x):
        return x * 2


print('torch', torch.__version__, 'onnxscript', onnxscript.__version__)
outcome = {}
for kind in (Plain, Chosen):
    program = torch.export.export(kind(), (torch.ones(4),))
    torch.onnx.export(program, verbose=False)
    try:
        torch.onnx.export(program, verbose=False)
        outcome[kind.__name__] = 'works'
    except Exception as error:
        known = 'PendingUnbackedSymbolNotFound' in str(error)
        outcome[kind.__name__] = 'PendingUnbackedSymbolNotFound' if known else repr(error)[:200]
print('the second conversion:', outcome)
assert outcome['Plain'] == 'works'
assert outcome['Chosen'] == 'PendingUnbackedSymbolNotFound', 'it works now'
PYTHON
