"""Tokens of regions against sampling by hand."""

import numpy as np
import pytest
import torch

from fgclip2_det.fgclip2.roi import pool_regions
from fgclip2_det.ranker import region_tokens


def sample(features: np.ndarray, x: float, y: float) -> np.ndarray:
    """Bilinear, with the border outside; centres of cells are at n + 0.5."""
    h, w, _ = features.shape
    x, y = min(max(x - 0.5, 0), w - 1), min(max(y - 0.5, 0), h - 1)
    left, top = int(x), int(y)
    right, bottom = min(left + 1, w - 1), min(top + 1, h - 1)
    u, v = x - left, y - top
    upper = features[top, left] * (1 - u) + features[top, right] * u
    lower = features[bottom, left] * (1 - u) + features[bottom, right] * u
    return upper * (1 - v) + lower * v


@pytest.mark.parametrize('grid', [1, 3])
@pytest.mark.parametrize('context', [1.0, 1.7])
@pytest.mark.parametrize('shape', [(5, 7), (1, 7), (5, 1), (1, 1)])
def test_cells_are_means_of_four_samples(grid, context, shape):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(*shape, 3))
    size, boxes = (50, 70), [[10, 4, 44, 30], [0, 0, 70, 50], [60, 33, 69, 39]]
    found = region_tokens(torch.tensor(features), size, boxes, grid, context)
    assert found.shape == (3, 1 + grid**2, 3)
    cells = [shape[1] / 70, shape[0] / 50] * 2
    for n, (x1, y1, x2, y2) in enumerate(np.array(boxes) * cells):
        centre = np.array([x1 + x2, y1 + y2]) / 2
        half = np.array([x2 - x1, y2 - y1]) / 2 * context
        step = half / grid  # of the 2 x 2 points of a cell
        for row in range(grid):
            for column in range(grid):
                points = [
                    centre - half + step * (2 * np.array([column, row]) + offset + 0.5)
                    for offset in ([0, 0], [1, 0], [0, 1], [1, 1])
                ]
                wanted = np.mean([sample(features, *point) for point in points], 0)
                cell = found[n, 1 + row * grid + column].numpy()
                np.testing.assert_allclose(cell, wanted, atol=1e-6)


def test_the_first_token_is_the_region_feature():
    features, boxes = (
        torch.randn(6, 5, 4),
        torch.tensor([[3.0, 4, 30, 50], [0, 0, 9, 9]]),
    )
    found = region_tokens(features, (60, 50), boxes, 2, 1.5)
    (pooled,) = pool_regions([features], [(60, 50)], [boxes])
    torch.testing.assert_close(found[:, 0], pooled)


def test_no_boxes_and_bad_ones():
    features = torch.randn(6, 5, 4)
    assert region_tokens(features, (60, 50), torch.zeros(0, 4), 3, 1.5).shape == (
        0,
        10,
        4,
    )
    for box in ([0, 0, float('nan'), 1], [5, 5, 1, 9], [100, 100, 120, 120]):
        with pytest.raises(ValueError, match='image 0'):
            region_tokens(features, (60, 50), [box], 3, 1.5)
