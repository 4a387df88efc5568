#!/usr/bin/env bash
# torch 2.13.0, onnxscript 0.7.2: exported attention with every key masked gives the mean of the masked values, not zeros.
#
# scaled_dot_product_attention gives zeros for a query whose keys are all masked: an image whose names are all padding, say. One
# would guess that the exported graph does. Seen for opsets 18 to 22 with a Boolean mask: the mean of the values that the mask
# takes away, whatever they are, without a warning; from opset 23 on, and from the exporter before dynamo, zeros. onnxscript writes
# a guard (IsNaN, Where) that never acts, as it fills the mask with the type's lowest finite number and not with -inf, as its
# comment says. nn.MultiheadAttention with such a key_padding_mask makes the mask -inf itself, and its exported row is NaN.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 numpy==2.2.6 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON' 2>/dev/null
from importlib.metadata import version

import numpy as np
import onnx, onnxruntime, torch
from torch.nn.functional import scaled_dot_product_attention


class Attention(torch.nn.Module):
    def forward(self, queries, keys, values, mask):
        return scaled_dot_product_attention(queries, keys, values, attn_mask=mask)


class CrossAttention(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = torch.nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, boxes, names, padded):
        return self.attention(boxes, names, names, key_padding_mask=padded, need_weights=False)[0]


def exported(module, inputs, opset, **options):
    torch.onnx.export(module, inputs, 'module.onnx', opset_version=opset, verbose=False, **options)
    session = onnxruntime.InferenceSession('module.onnx')
    (found,) = session.run(None, {entry.name: value.numpy() for entry, value in zip(session.get_inputs(), inputs)})
    return found, sorted({node.op_type for node in onnx.load('module.onnx').graph.node})


torch.manual_seed(0)
queries, keys, values = torch.randn(2, 2, 5, 8), torch.randn(2, 2, 6, 8), torch.randn(2, 2, 6, 8)
mask = torch.zeros(2, 1, 5, 6, dtype=torch.bool)
mask[0, :, :, :4] = True  # the first picture has four names of six, the second has none
inputs = (queries, keys, values, mask)
own = Attention()(*inputs).numpy()
mean = values[1].mean(1, keepdim=True).expand(-1, 5, -1).numpy()
print('torch', torch.__version__, 'onnxscript', version('onnxscript'), 'onnxruntime', onnxruntime.__version__)
print('PyTorch, second picture:  ', own[1, 0, 0, :3].tolist())
assert not own[1].any()
for opset, options, expected in ((18, dict(dynamo=True), mean), (22, dict(dynamo=True), mean), (23, dict(dynamo=True), own[1]),
                                 (18, dict(dynamo=False), own[1])):
    found, operators = exported(Attention(), inputs, opset, **options)
    print('opset', opset, 'dynamo' if options['dynamo'] else 'before', found[1, 0, 0, :3].round(4).tolist(), *operators)
    assert np.allclose(found[0], own[0], atol=1e-5)
    assert np.allclose(found[1], expected, atol=1e-5), 'opset {} gives another row now'.format(opset)
print('mean of the masked values:', mean[0, 0, :3].round(4).tolist())

module = CrossAttention().eval()
padded = ~mask[:, 0, 0]
inputs = (torch.randn(2, 5, 16), torch.randn(2, 6, 16), padded)
with torch.no_grad():
    own = module(*inputs).numpy()
found, _ = exported(module, inputs, 18, dynamo=True)
print('MultiheadAttention: PyTorch', own[1, 0, :3].tolist(), 'opset 18', found[1, 0, :3].tolist())
assert not own[1].any()
assert np.allclose(found[0], own[0], atol=1e-5)
assert np.isnan(found[1]).all(), found[1]
PYTHON
echo 'as described'
