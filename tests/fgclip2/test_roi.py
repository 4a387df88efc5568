"""Separable RoIAlign against the definition, written as loops."""

import math

import pytest
import torch

from fgclip2_det.fgclip2.roi import separable_roi_align


def bilinear(features: torch.Tensor, y: float, x: float) -> torch.Tensor:
    h, w, dims = features.shape
    if y < -1 or y > h or x < -1 or x > w:
        return features.new_zeros(dims)
    y, x = min(max(y, 0), h - 1), min(max(x, 0), w - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, h - 1), min(left + 1, w - 1)
    dy, dx = y - top, x - left
    upper = features[top, left] * (1 - dx) + features[top, right] * dx
    lower = features[bottom, left] * (1 - dx) + features[bottom, right] * dx
    return upper * (1 - dy) + lower * dy


def roi_align_by_loops(features, bbox, size, sampling_ratio):
    x1, y1, x2, y2 = (float(v) for v in bbox)
    bin_h, bin_w = (y2 - y1) / size, (x2 - x1) / size
    num_y = sampling_ratio or math.ceil(bin_h)
    num_x = sampling_ratio or math.ceil(bin_w)
    out = features.new_zeros(size, size, features.shape[-1])
    for row in range(size):
        for column in range(size):
            for i in range(num_y):
                for j in range(num_x):
                    y = y1 - 0.5 + row * bin_h + (i + 0.5) * bin_h / num_y
                    x = x1 - 0.5 + column * bin_w + (j + 0.5) * bin_w / num_x
                    out[row, column] += bilinear(features, y, x)
    return out / max(num_y * num_x, 1)


BBOXES = [
    [0.0, 0.0, 9.0, 7.0],  # the whole map
    [1.3, 2.1, 4.9, 3.0],
    [8.4, 6.6, 9.0, 7.0],  # less than a cell, in the corner
    [-3.0, -2.5, 2.0, 1.5],  # partly outside
    [20.0, 20.0, 30.0, 30.0],  # wholly outside
    [3.0, 3.0, 3.0, 5.0],  # no area
    [-4.0, 1.0, 40.0, 2.0],  # wider than the map
]


@pytest.mark.parametrize('size', [1, 3])
@pytest.mark.parametrize('sampling_ratio', [0, 2])
def test_equals_loops_in_value_and_gradient(size, sampling_ratio):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(7, 9, 5, generator=generator, requires_grad=True)
    bboxes = torch.tensor(BBOXES)
    fast = separable_roi_align(features, bboxes, size, sampling_ratio)
    slow = torch.stack(
        [roi_align_by_loops(features, bbox, size, sampling_ratio) for bbox in bboxes]
    )
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-5)
    weight = torch.randn(slow.shape, generator=generator)
    (grad_fast,) = torch.autograd.grad((fast * weight).sum(), features)
    (grad_slow,) = torch.autograd.grad((slow * weight).sum(), features)
    torch.testing.assert_close(grad_fast, grad_slow, atol=1e-5, rtol=1e-5)


def test_chunks_give_the_same(monkeypatch):
    features, bboxes = torch.randn(4, 6, 3), torch.rand(50, 4) * 3
    bboxes[:, 2:] += bboxes[:, :2]
    whole = separable_roi_align(features, bboxes)
    monkeypatch.setattr('fgclip2_det.fgclip2.roi.CHUNK_ELEMENTS', 100)
    torch.testing.assert_close(separable_roi_align(features, bboxes), whole)


def test_no_boxes_and_half_precision():
    features = torch.randn(4, 6, 3, dtype=torch.bfloat16)
    assert separable_roi_align(features, torch.zeros(0, 4)).shape == (0, 1, 1, 3)
    pooled = separable_roi_align(features, torch.tensor([[0.0, 0.0, 6.0, 4.0]]))
    assert pooled.dtype == torch.bfloat16
    torch.testing.assert_close(
        pooled[0, 0, 0].float(), features.float().mean((0, 1)), atol=1e-2, rtol=1e-2
    )
