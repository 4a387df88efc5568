#!/usr/bin/env bash
# onnx 1.23.2, onnxruntime 1.32.0: Resize with antialias=1 is not PyTorch's antialiased resizing where it shrinks.
#
# Both are a triangle filter. PyTorch leaves out what lies beyond the border and divides by the sum of the rest; ONNX repeats the
# border, unless exclude_outside=1 is given, which its specification describes for cubic resizing. Enlarging is the same in both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.13.0 numpy==2.2.6 onnx==1.23.2 onnxruntime==1.32.0
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator


def model(**options):
    node = helper.make_node(
        'Resize', ['x', '', '', 'size'], ['y'], mode='linear', antialias=1,
        coordinate_transformation_mode='half_pixel', **options,
    )
    inputs = [
        helper.make_tensor_value_info('x', TensorProto.FLOAT, [1, 2, 16, 16]),
        helper.make_tensor_value_info('size', TensorProto.INT64, [4]),
    ]
    outputs = [helper.make_tensor_value_info('y', TensorProto.FLOAT, None)]
    graph = helper.make_graph([node], 'resize', inputs, outputs)
    opset = [helper.make_opsetid('', 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10)


print('onnx', onnx.__version__, 'onnxruntime', onnxruntime.__version__, 'torch', torch.__version__)
x = np.random.default_rng(0).standard_normal((1, 2, 16, 16)).astype(np.float32)
off = {}
for size in [(27, 36), (8, 8), (6, 10)]:
    exact = F.interpolate(torch.from_numpy(x), size, mode='bilinear', antialias=True).numpy()
    feeds = {'x': x, 'size': np.array([1, 2, *size], np.int64)}
    for options in ({}, {'exclude_outside': 1}):
        own = model(**options)
        runtime = onnxruntime.InferenceSession(own.SerializeToString()).run(None, feeds)[0]
        reference = ReferenceEvaluator(own).run(None, feeds)[0]
        off[size, bool(options)] = abs(runtime - exact).max(), abs(reference - exact).max()
        print(size, options, 'onnxruntime off by {:.2g}, reference by {:.2g}'.format(*off[size, bool(options)]))
assert max(off[(27, 36), False]) < 1e-4
for size in [(8, 8), (6, 10)]:
    assert min(off[size, False]) > 0.05, 'the same without exclude_outside now'
    assert max(off[size, True]) < 1e-4
PYTHON
