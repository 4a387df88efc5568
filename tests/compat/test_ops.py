"""Deformable attention, focal losses, overlaps, and the ops that are missing."""

import importlib.util
import math
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from mmcv.ops import bbox_overlaps, sigmoid_focal_loss, softmax_focal_loss
from mmcv.ops.multi_scale_deform_attn import (
    MultiScaleDeformableAttnFunction,
    multi_scale_deformable_attn_pytorch,
)
from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss
from torch import Tensor

SHAPES = torch.tensor([[6, 10], [3, 5], [1, 2]])
STARTS = torch.tensor([0, 60, 75])


def attention_inputs(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Two images, 77 cells on 3 levels, 2 heads of 3 channels, 4 queries, 2 points."""
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(2, 77, 2, 3, generator=generator, dtype=dtype)
    locations = torch.rand(2, 4, 2, 3, 2, 2, generator=generator, dtype=dtype)
    locations = locations * 1.6 - 0.3  # some lie outside
    weights = torch.rand(2, 4, 2, 3, 2, generator=generator, dtype=dtype)
    return [value, locations, weights]


def attend(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    return MultiScaleDeformableAttnFunction.apply(
        value, SHAPES, STARTS, locations, weights, 64
    )


def slow_attention(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    output = torch.zeros(2, 4, 2, 3, dtype=value.dtype)
    for b, q, m, level, p in torch.cartesian_prod(*map(torch.arange, (2, 4, 2, 3, 2))):
        height, width = SHAPES[level].tolist()
        x, y = (locations[b, q, m, level, p] * SHAPES[level].flip(0) - 0.5).tolist()
        for row in (math.floor(y), math.floor(y) + 1):
            for column in (math.floor(x), math.floor(x) + 1):
                if 0 <= row < height and 0 <= column < width:
                    share = (1 - abs(y - row)) * (1 - abs(x - column))
                    cell = value[b, STARTS[level] + row * width + column, m]
                    output[b, q, m] += weights[b, q, m, level, p] * share * cell
    return output.flatten(2)


def test_attention_matches_a_loop_and_gradcheck():
    inputs = attention_inputs()
    torch.testing.assert_close(attend(*inputs), slow_attention(*inputs))
    inputs = [tensor.requires_grad_() for tensor in inputs]
    assert torch.autograd.gradcheck(attend, inputs)


def test_attention_equals_mmcv_on_cpu():
    """mmcv's compiled op exists for GPUs alone; on a CPU mmcv runs this formula."""
    results = []
    for function in (
        attend,
        lambda v, s, w: multi_scale_deformable_attn_pytorch(v, SHAPES, s, w),
    ):
        inputs = [tensor.requires_grad_() for tensor in attention_inputs(torch.float32)]
        output = function(*inputs)
        (
            output * torch.linspace(-1, 1, output.numel()).view_as(output)
        ).sum().backward()
        results.append([output, *(tensor.grad for tensor in inputs)])
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_attention_in_half_types(dtype: torch.dtype):
    inputs = [tensor.to(dtype).requires_grad_() for tensor in attention_inputs()]
    output = attend(*inputs)
    expected = attend(*[tensor.float() for tensor in inputs])
    torch.testing.assert_close(output, expected.to(dtype))
    output.sum().backward()
    assert all(tensor.grad.dtype == dtype for tensor in inputs)


@pytest.mark.parametrize('alpha', [0.25, 0.9])
@pytest.mark.parametrize('gamma', [0.0, 2.0, 1.5])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_sigmoid_focal_loss_equals_mmdet(dtype, gamma: float, alpha: float):
    """Labels 0-3, and 4 for background; mmdet writes the formula in PyTorch."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20, 4, generator=generator, dtype=dtype) * 4
    labels = torch.arange(20) % 5
    one_hot = F.one_hot(labels, 5)[:, :4].to(dtype)
    results = []
    for loss in (
        lambda x: sigmoid_focal_loss(x, labels, gamma, alpha, None, 'sum'),
        lambda x: py_sigmoid_focal_loss(
            x, one_hot, gamma=gamma, alpha=alpha, reduction='sum'
        ),
    ):
        x = logits.clone().requires_grad_()
        value = loss(x)
        value.backward()
        results.append((value.detach(), x.grad))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)


def test_focal_losses_by_hand():
    """p = 1/2, gamma 2, alpha 1/4: 1/4 * 1/4 * ln 2 for the label, 3/4 * ... else."""
    logits, labels = torch.zeros(1, 2), torch.tensor([0])
    loss = sigmoid_focal_loss(logits, labels, 2.0, 0.25, None, 'none')
    torch.testing.assert_close(loss, torch.tensor([[0.0433217, 0.1299651]]))
    loss = softmax_focal_loss(logits, labels, 2.0, 0.25, None, 'none')
    torch.testing.assert_close(loss, torch.tensor([0.0433217]))


@pytest.mark.parametrize('loss', [sigmoid_focal_loss, softmax_focal_loss])
@pytest.mark.parametrize('weighted', [False, True])
def test_focal_losses_gradcheck(loss, weighted: bool):
    """Label 2 counts twice with weights; unweighted background counts once."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 2, 1, 0])
    weight = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64) if weighted else None
    values = loss(logits, labels, 2.0, 0.25, weight, 'none')
    plain = loss(logits, labels, 2.0, 0.25, None, 'none')
    factor = weight[labels] if weighted else torch.ones(6).double()
    factor = factor.view(-1, *[1] * (values.dim() - 1))
    torch.testing.assert_close(values, plain * factor)
    logits.requires_grad_()
    function = lambda x: loss(x.clone(), labels, 2.0, 0.25, weight, 'sum')  # noqa: E731
    assert torch.autograd.gradcheck(function, logits)


def test_background_has_weight_one():
    logits, weight = torch.randn(2, 3), torch.full((3,), 5.0)
    background = torch.tensor([3, -1])
    loss = sigmoid_focal_loss(logits, background, 2.0, 0.25, weight, 'none')
    plain = sigmoid_focal_loss(logits, background, 2.0, 0.25, None, 'none')
    torch.testing.assert_close(loss, plain)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_focal_loss_in_half_types(dtype: torch.dtype):
    logits, labels = torch.linspace(-6, 6, 12).view(4, 3).to(dtype), torch.arange(4)
    loss = sigmoid_focal_loss(logits, labels, 2.0, 0.25, None, 'none')
    expected = sigmoid_focal_loss(logits.float(), labels, 2.0, 0.25, None, 'none')
    torch.testing.assert_close(loss, expected.to(dtype))


@pytest.mark.parametrize('mode', [0, 1])
@pytest.mark.parametrize('aligned', [False, True])
@pytest.mark.parametrize('offset', [0, 1])
def test_bbox_overlaps_equals_the_compiled_op(
    ext: ModuleType, compiled: ModuleType, mode: int, aligned: bool, offset: int
):
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(2, 9, 2, generator=generator) * 20
    boxes = torch.cat([low, low + torch.rand(2, 9, 2, generator=generator) * 15], -1)
    outputs = [torch.zeros(9) if aligned else torch.zeros(9, 9) for _ in range(2)]
    for ops, output in zip((ext, compiled), outputs, strict=True):
        ops.bbox_overlaps(*boxes, output, mode=mode, aligned=aligned, offset=offset)
    torch.testing.assert_close(*outputs, rtol=1e-5, atol=1e-6)


def test_bbox_overlaps_by_hand():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 5, 10, 15]])
    expected = torch.tensor([[1, 1 / 3], [1 / 3, 1]])
    torch.testing.assert_close(bbox_overlaps(boxes, boxes), expected)


def test_the_fallback_answers_for_every_compiled_op(
    ext: ModuleType, compiled: ModuleType
):
    names = [name for name in dir(compiled) if not name.startswith('_')]
    assert all(callable(getattr(ext, name)) for name in names)
    assert len(names) > 100
    assert not hasattr(ext, '_private')


def test_a_missing_op_names_itself_and_the_remedy(ext: ModuleType):
    with pytest.raises(RuntimeError, match=r"'roi_pool_forward' needs.*MMCV_WITH_OPS"):
        ext.roi_pool_forward(1, kernel=2)


def test_importlib_finds_the_fallback():
    """mmengine and mmcv ask importlib and pkgutil whether ops are there."""
    assert importlib.util.find_spec('mmcv._ext').loader is not None
