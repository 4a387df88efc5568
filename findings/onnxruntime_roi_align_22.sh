#!/usr/bin/env bash
# onnxruntime 1.32.0: a two-stage detector's RoiAlign cannot be exported at opset 22 or later.
#
# Opset 22 has new versions of RoiAlign, Conv, GridSample, MaxPool and others. onnxruntime runs the new Conv, GridSample and MaxPool
# and has no new RoiAlign: the session of a graph that onnx's checker accepts is refused, while the same node at opset 16 to 21 runs.
# An exporter that takes the newest opset, or a converter that raises it, leaves a detector that no session loads.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.2.6
"$folder/env/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

IMAGE = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
BOX, FIRST = np.array([[0, 0, 4, 4]], np.float32), np.array([0])
GRID = np.zeros((1, 2, 2, 2), np.float32)
KERNEL = np.ones((1, 1, 3, 3), np.float32)
NODES = {
    'RoiAlign': (dict(x=IMAGE, boxes=BOX, images=FIRST), dict(output_height=2, output_width=2)),
    'GridSample': (dict(x=IMAGE, grid=GRID), {}),
    'Conv': (dict(x=IMAGE, kernel=KERNEL), {}),
    'MaxPool': (dict(x=IMAGE), dict(kernel_shape=[3, 3])),
}


def runs(kind: str, opset: int) -> bool:
    inputs, options = NODES[kind]
    types = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.int64): TensorProto.INT64}
    given = [helper.make_tensor_value_info(k, types[v.dtype], v.shape) for k, v in inputs.items()]
    out = helper.make_tensor_value_info('out', TensorProto.FLOAT, [1, 1, 2, 2])
    node = helper.make_node(kind, list(inputs), ['out'], **options)
    model = helper.make_model(
        helper.make_graph([node], 'graph', given, [out]),
        opset_imports=[helper.make_opsetid('', opset)], ir_version=10,
    )
    onnx.checker.check_model(model, full_check=True)
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
    except Exception as error:
        assert 'Could not find an implementation' in str(error), error
        return False
    return session.run(None, inputs)[0].shape == (1, 1, 2, 2)


print('onnx', onnx.__version__, 'onnxruntime', onnxruntime.__version__)
table = {kind: [opset for opset in range(16, 25) if runs(kind, opset)] for kind in NODES}
for kind, opsets in table.items():
    print(f'{kind}: a session runs it at opset {opsets}')
assert table.pop('RoiAlign') == list(range(16, 22)), 'RoiAlign of opset 22 runs now'
assert all(opsets == list(range(16, 25)) for opsets in table.values())
PYTHON
