"""RoIAlign, against a loop over sampling points and the compiled op."""

import math
from types import ModuleType

import pytest
import torch
from mmcv.ops import RoIAlign, roi_align
from torch import Tensor

from fgclip2_det.compat.ops import roi_align as fallback
from fgclip2_det.compat.ops import roi_layout
from fgclip2_det.compat.ops.backends import torchvision_ops

SCALE = 1 / 8


def make_rois(kind: str, count: int = 30) -> Tensor:
    """(K, 5) RoIs on two 96 x 160 images (h, w), so a 12 x 20 map."""
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(count, 2, generator=generator) * torch.tensor([120.0, 70.0])
    size = torch.rand(count, 2, generator=generator) * 80
    if kind == 'outside':
        low = low * 4 - 200
    elif kind == 'degenerate':
        size[::2] = 0
        size[1::3, 1] = 0
    elif kind == 'whole cells':  # points fall on cell borders
        low, size = low.div(8).round() * 8, size.div(56).ceil() * 56
    images = torch.arange(count) % 2
    return torch.cat([images[:, None], low, low + size], 1)[
        : 0 if kind == 'none' else None
    ]


KINDS = ['inside', 'outside', 'degenerate', 'whole cells', 'none']


def bilinear(plane: Tensor, y: float, x: float) -> float:
    height, width = plane.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    total = 0.0
    for row in {math.floor(y), math.ceil(y)}:
        for column in {math.floor(x), math.ceil(x)}:
            share = (1 - abs(y - row)) * (1 - abs(x - column))
            total += share * float(plane[row, column])
    return total


def slow_roi_align(features: Tensor, rois: Tensor, ratio: int, aligned: bool) -> Tensor:
    """Average mode with 2 x 3 bins, point by point."""
    output = torch.zeros(len(rois), features.shape[1], 2, 3, dtype=features.dtype)
    for k, (image, *box) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (v * SCALE - 0.5 * aligned for v in box)
        least = 0.0 if aligned else 1.0
        bin_h, bin_w = max(y2 - y1, least) / 2, max(x2 - x1, least) / 3
        rows, columns = ratio or math.ceil(bin_h), ratio or math.ceil(bin_w)
        for c, plane in enumerate(features[int(image)]):
            for p in range(2):
                for q in range(3):
                    values = [
                        bilinear(
                            plane,
                            y1 + (p + (i + 0.5) / rows) * bin_h,
                            x1 + (q + (j + 0.5) / columns) * bin_w,
                        )
                        for i in range(rows)
                        for j in range(columns)
                    ]
                    output[k, c, p, q] = sum(values) / max(len(values), 1)
    return output


def run(rois: Tensor, *settings) -> tuple[Tensor, Tensor]:
    """Output, and gradient of a fixed random weighting of it, through mmcv."""
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(2, 3, 12, 20, generator=generator).requires_grad_()
    output = roi_align(features, rois, (7, 5), SCALE, *settings)
    output.backward(torch.randn(output.shape, generator=generator))
    return output.detach(), features.grad


def test_roi_align_by_hand():
    """A map that holds its own x: the bin's average is its centre, 2.5 - 0.5."""
    features = torch.arange(8.0).expand(1, 1, 8, 8).contiguous()
    rois = torch.tensor([[0.0, 1, 1, 4, 4]])
    assert float(roi_align(features, rois, 1, 1.0, 0, 'avg', True)) == pytest.approx(2)
    assert float(roi_align(features, rois, 1, 1.0, 0, 'max', True)) == pytest.approx(3)


@pytest.mark.parametrize('ratio', [0, 2])
@pytest.mark.parametrize('aligned', [False, True])
def test_roi_align_matches_a_loop(ratio: int, aligned: bool):
    features = torch.randn(2, 2, 12, 20, generator=torch.Generator().manual_seed(1))
    features = features.double()
    for kind in ('inside', 'outside', 'degenerate'):
        rois = make_rois(kind, 8).double()
        output = roi_align(features, rois, (2, 3), SCALE, ratio, 'avg', aligned)
        torch.testing.assert_close(
            output, slow_roi_align(features, rois, ratio, aligned)
        )


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('mode', ['avg', 'max'])
@pytest.mark.parametrize('ratio', [0, 2])
@pytest.mark.parametrize('aligned', [False, True])
def test_roi_align_equals_the_compiled_op(
    compiled: ModuleType,
    use_ops,
    kind: str,
    mode: str,
    ratio: int,
    aligned: bool,
):
    settings = (make_rois(kind), ratio, mode, aligned)
    ours = run(*settings)
    use_ops(compiled)
    theirs = run(*settings)
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours[1], theirs[1], rtol=1e-4, atol=1e-4)


def test_chunks_do_not_change_the_result(monkeypatch):
    settings = (make_rois('outside'), 0, 'avg', True)
    whole = run(*settings)
    monkeypatch.setattr(roi_layout, 'MAX_ENTRIES', 300)
    torch.testing.assert_close(run(*settings), whole)


@pytest.mark.parametrize('mode', ['avg', 'max'])
def test_roi_align_gradcheck(mode: str):
    features = torch.randn(2, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    features = features.double().requires_grad_()
    rois = torch.tensor([[0.0, 3, 2, 30, 37], [1, -9, 5, 20, 50]]).double()
    assert torch.autograd.gradcheck(
        lambda x: roi_align(x, rois, (2, 3), SCALE, 0, mode, True), features
    )


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_types_are_pooled_in_float32(dtype: torch.dtype):
    """The coordinates of RoIs in pixels do not survive in half precision maps."""
    features = torch.randn(2, 3, 12, 20, generator=torch.Generator().manual_seed(1))
    features, rois = features.to(dtype).requires_grad_(), make_rois('inside').to(dtype)
    output = roi_align(features, rois, 7, SCALE, 0, 'avg', True)
    expected = roi_align(features.float(), rois.float(), 7, SCALE, 0, 'avg', True)
    assert output.dtype == dtype
    torch.testing.assert_close(output, expected.to(dtype))
    output.sum().backward()
    assert features.grad.dtype == dtype


def test_autocast_leaves_the_arithmetic_alone():
    features, rois = torch.randn(2, 3, 12, 20), make_rois('inside')
    expected = roi_align(features, rois, 7, SCALE, 2, 'avg', True)
    with torch.autocast('cpu', torch.bfloat16):
        output = RoIAlign(7, SCALE, 2)(features, rois)
    torch.testing.assert_close(output, expected, rtol=0, atol=0)


def test_bad_rois_are_refused():
    features = torch.zeros(2, 3, 12, 20)
    for roi, message in (
        ([0, 0, 0, math.nan, 9], 'NaN or infinity'),
        ([0, 9, 0, 5, 9], 'x1 <= x2'),
        ([2, 0, 0, 5, 9], r'name images 2 to 2, but the batch holds 2'),
    ):
        with pytest.raises(ValueError, match=message):
            roi_align(features, torch.tensor([roi]).float(), 7, SCALE, 0, 'avg', True)


def test_torchvision_kernels_agree(monkeypatch):
    """On a GPU they replace ours; here their CPU versions take the same call."""
    if torchvision_ops() is None:
        pytest.skip('needs a torchvision built for this torch')
    settings = (make_rois('inside'), 0, 'avg', True)
    ours = run(*settings)
    monkeypatch.setattr(fallback, '_use_torchvision', lambda tensor: True)
    torch.testing.assert_close(run(*settings), ours)
