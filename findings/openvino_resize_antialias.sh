#!/usr/bin/env bash
# openvino 2026.4.1: reads ONNX's Resize with antialias=1 as if it were 0.
#
# Since opset 18 Resize has antialias, which averages over more pixels where it shrinks. OpenVINO reads such a model without a
# warning, so one would guess that it does so. Seen on a CPU with the hint of float32, linear and cubic, 8 x 8 to 4 x 4: the result
# with antialias=1 equals the one with 0 bit by bit, and is off onnxruntime's by up to 0.91; without antialias both agree.
# A graph that shrinks its pictures or a table in this way gives other scores, and none of its checks on onnxruntime tells.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q openvino==2026.4.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.2.6
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import numpy as np
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper, save

picture = np.random.default_rng(0).normal(size=(1, 1, 8, 8)).astype(np.float32)
print('openvino', version('openvino'), 'onnxruntime', version('onnxruntime'), 'onnx', version('onnx'))


def resized(mode, antialias):
    """By onnxruntime and by OpenVINO."""
    node = helper.make_node('Resize', ['picture', '', '', 'sizes'], ['small'], mode=mode, antialias=antialias,
                            coordinate_transformation_mode='half_pixel')
    graph = helper.make_graph(
        [node], 'resize', [helper.make_tensor_value_info('picture', TensorProto.FLOAT, picture.shape)],
        [helper.make_tensor_value_info('small', TensorProto.FLOAT, [1, 1, 4, 4])],
        [numpy_helper.from_array(np.array([1, 1, 4, 4]), 'sizes')])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=9), 'resize.onnx')
    compiled = openvino.Core().compile_model('resize.onnx', 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    reference = onnxruntime.InferenceSession('resize.onnx', providers=['CPUExecutionProvider'])
    return reference.run(None, {'picture': picture})[0], compiled([picture])[0]


for mode in ('linear', 'cubic'):
    (plain, own_plain), (averaged, own_averaged) = (resized(mode, antialias) for antialias in (0, 1))
    print(f'{mode}: OpenVINO with and without antialias equal: {np.array_equal(own_plain, own_averaged)}, off onnxruntime by up to'
          f' {abs(own_plain - plain).max():.1g} without, {abs(own_averaged - averaged).max():.2f} with it')
    assert np.allclose(plain, own_plain, atol=1e-5)
    assert np.array_equal(own_plain, own_averaged), 'antialias is read now'
    assert abs(own_averaged - averaged).max() > 0.1
PYTHON
