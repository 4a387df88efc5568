"""What the ops demand of their tensors, and what compiled ones do without."""

from types import ModuleType

import pytest
import torch
from torch import Tensor

from fgclip2_det.compat import compiled_ops, mmcv_ext
from fgclip2_det.compat.ops.contracts import CONTRACTS, INTEGERS, SWITCH

SIZES = dict(B=2, C=3, H=4, W=5, K=6, P=2, Q=2, N=7, M=2, D=4, S=20, L=2, E=8)
POOL = dict(
    aligned_height=2, aligned_width=2, spatial_scale=0.5, sampling_ratio=2,
    pool_mode=1, aligned=True,
)  # fmt: skip
SETTINGS = {
    'nms': dict(iou_threshold=0.5, offset=0),
    'nms_match': dict(iou_threshold=0.5),
    'softnms': dict(iou_threshold=0.5, sigma=0.5, min_score=0.0, method=1, offset=0),
    'bbox_overlaps': dict(mode=0, aligned=False, offset=0),
    'roi_align_forward': POOL,
    'roi_align_backward': POOL,
}
FOCAL = dict(gamma=2.0, alpha=0.25)


def call_of(op: str) -> dict[str, Tensor]:
    """Tensors of the right shapes, types and values."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, shapes in CONTRACTS[op].shapes.items():
        shape = [SIZES.get(x) or int(x) for x in shapes.split('|')[0].split()]
        tensors[name] = torch.rand(shape, generator=generator)
    for name in {'boxes', 'bboxes1', 'bboxes2', 'rois', 'dets'} & tensors.keys():
        tensors[name][:, -2:] += 1  # x1 < x2
    if 'rois' in tensors:
        tensors['rois'][:, 0] = torch.arange(6) % 2
    if 'target' in tensors:
        tensors['target'] = torch.arange(7) % 3
    if 'value' in tensors:
        tensors['value_spatial_shapes'] = torch.tensor([[3, 4], [2, 4]])
        tensors['value_level_start_index'] = torch.tensor([0, 12])
    return tensors


def run(ext: ModuleType, op: str, tensors: dict[str, Tensor]):
    settings = FOCAL if 'focal' in op else SETTINGS.get(op, {})
    return getattr(ext, op)(*tensors.values(), **settings)


def strided(tensor: Tensor) -> Tensor:
    """The same numbers, at every second place of memory."""
    return torch.stack([tensor, tensor], -1)[..., 0]


def test_every_op_has_a_contract():
    exempt = {'get_compiler_version', 'get_compiling_cuda_version'}
    assert set(mmcv_ext.__all__) - exempt == set(CONTRACTS)


@pytest.mark.parametrize('op', CONTRACTS)
def test_right_tensors_pass(op: str):
    run(mmcv_ext, op, call_of(op))


ARGUMENTS = [(op, name) for op, rule in CONTRACTS.items() for name in rule.shapes]


@pytest.mark.parametrize(('op', 'name'), ARGUMENTS)
def test_strides(op: str, name: str):
    tensors = call_of(op)
    tensors[name] = strided(tensors[name])
    if name in CONTRACTS[op].strided:
        run(mmcv_ext, op, tensors)
        return
    message = rf'{op}: {name} must be contiguous.*got shape \(.*with strides \('
    with pytest.raises(ValueError, match=message):
        run(mmcv_ext, op, tensors)


@pytest.mark.parametrize(('op', 'name'), ARGUMENTS)
def test_types(op: str, name: str):
    """float32, int64, or the first tensor's: then the others do not fit any more."""
    tensors, rule = call_of(op), CONTRACTS[op]
    named = name if rule.dtype or name != next(iter(tensors)) else r'\w+'
    tensors[name] = tensors[name].to(torch.float64)
    if name in rule.sorted:
        run(mmcv_ext, op, tensors)
        return
    wanted = 'int64' if name in INTEGERS else r'float\d+'
    with pytest.raises(ValueError, match=rf'{op}: {named} must be torch.{wanted}, got'):
        run(mmcv_ext, op, tensors)


@pytest.mark.parametrize(('op', 'name'), ARGUMENTS)
def test_shapes(op: str, name: str):
    tensors = call_of(op)
    tensors[name] = tensors[name][None]
    message = rf'{op}: {name} must be of shape \(.*, got \(1, '
    with pytest.raises(ValueError, match=message):
        run(mmcv_ext, op, tensors)


def test_sizes_must_agree():
    tensors = call_of('roi_align_forward')
    tensors['output'] = tensors['output'][:, :2].contiguous()
    message = (
        r'output must be of shape \(K, C, P, Q\) with B = 2, C = 3, H = 4, W = 5, '
        r'K = 6, got \(6, 2, 2, 2\)'
    )
    with pytest.raises(ValueError, match=message):
        run(mmcv_ext, 'roi_align_forward', tensors)


@pytest.mark.parametrize('op', [op for op in CONTRACTS if op != 'nms_match'])
def test_devices(op: str):
    tensors = call_of(op)
    *_, last = tensors
    tensors[last] = tensors[last].to('meta')
    message = f'{op}: {last} must be on cpu like .*, got meta'
    with pytest.raises(ValueError, match=message):
        run(mmcv_ext, op, tensors)


def test_users_get_the_right_answer(monkeypatch):
    """The switch is for tests: PyTorch reads strides."""
    monkeypatch.delenv(SWITCH)
    tensors = call_of('roi_align_forward')
    run(mmcv_ext, 'roi_align_forward', tensors)
    expected = tensors['output'].clone()
    tensors['input'] = strided(tensors['input'])
    run(mmcv_ext, 'roi_align_forward', tensors)
    torch.testing.assert_close(tensors['output'], expected)


@pytest.fixture
def suited(compiled: ModuleType) -> ModuleType:
    """The compiled ops as users get them."""
    module = ModuleType('suited')
    for name in dir(compiled):
        setattr(module, name, getattr(compiled, name))
    compiled_ops.install(module)
    return module


def test_compiled_ops_misread_strides(compiled: ModuleType, suited, monkeypatch):
    """Why the contracts are there, and that users get no such number."""
    tensors = call_of('roi_align_forward')
    run(compiled, 'roi_align_forward', tensors)
    expected = tensors['output'].clone()
    tensors['input'] = strided(tensors['input'])
    run(compiled, 'roi_align_forward', tensors)
    assert (tensors['output'] - expected).abs().max() > 0.1
    with pytest.raises(ValueError, match='input must be contiguous'):
        run(suited, 'roi_align_forward', tensors)
    monkeypatch.delenv(SWITCH)
    run(suited, 'roi_align_forward', tensors)
    torch.testing.assert_close(tensors['output'], expected)


@pytest.mark.parametrize('op', ['roi_align_forward', 'roi_align_backward'])
@pytest.mark.parametrize('pool_mode', [0, 1])
def test_compiled_ops_in_bfloat16(compiled, suited, op: str, pool_mode: int):
    """They stop there, suited ones give what the PyTorch op gives."""
    results = []
    for ext in (suited, mmcv_ext):
        tensors = {k: x.bfloat16() for k, x in call_of(op).items()}
        settings = {**SETTINGS[op], 'pool_mode': pool_mode}
        getattr(ext, op)(*tensors.values(), **settings)
        results.append([*tensors.values()])
    torch.testing.assert_close(*results)
    with pytest.raises(RuntimeError, match='not implemented for'):
        getattr(compiled, op)(*tensors.values(), **settings)


def test_compiled_nms_of_other_types(compiled, suited, monkeypatch):
    monkeypatch.delenv(SWITCH)
    tensors = {k: x.double() for k, x in call_of('nms').items()}
    with pytest.raises(RuntimeError, match='expected scalar type'):
        run(compiled, 'nms', tensors)
    assert (
        run(suited, 'nms', tensors).tolist() == run(mmcv_ext, 'nms', tensors).tolist()
    )


def test_ops_are_wrapped_once(suited):
    before = suited.nms
    compiled_ops.install(suited)
    assert suited.nms is before is not None
