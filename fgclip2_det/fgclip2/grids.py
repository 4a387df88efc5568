"""Grids of patches that images are resized to, and boxes on images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral

import numpy as np

BUDGETS = (128, 256, 576, 784, 1024)  # patches per image, as in training


def patch_budget(width: int, height: int) -> int:
    """Smallest budget that holds an image's whole 16 x 16 patches, or the largest."""
    num_patches = (width // 16) * (height // 16)
    return next((b for b in BUDGETS if num_patches <= b), BUDGETS[-1])


def target_grid(
    height: int, width: int, max_num_patches: int, patch_size: int = 16
) -> tuple[int, int]:
    """Grid (h, w) that an image is resized to.

    Bisection for the largest scale in 1e-6 to 100, to within 1e-5, whose grid is within
    the budget. The tolerance is part of the model: the exact optimum would sometimes be
    another grid. Every side has at least one patch, which never exceeds the budget,
    because the smallest scale leaves one patch per side.

    Args:
        height, width: size of the image in pixels.
        max_num_patches: the budget, maximum of h * w.
        patch_size: pixels per patch side.

    Raises:
        ValueError: if an argument is not a positive integer.

    Reference: NaFlex of SigLIP 2 (arXiv:2502.14786).
    """
    values = {'height': height, 'width': width, 'patch_size': patch_size}
    for name, value in (values | {'max_num_patches': max_num_patches}).items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            hint = " or 'auto'" if name == 'max_num_patches' else ''
            raise ValueError(f'{name} must be a positive integer{hint}, got {value!r}')

    def grid(scale: float) -> tuple[int, int]:
        rows, columns = (
            max(1, math.ceil(side * scale / patch_size)) for side in (height, width)
        )
        return rows, columns

    low, high = 1e-6, 100.0
    while high - low >= 1e-5:
        middle = (low + high) / 2
        if math.prod(grid(middle)) <= max_num_patches:
            low = middle
        else:
            high = middle
    return grid(low)


def box_fault(boxes: np.ndarray, size: Sequence[int], index: int) -> str | None:
    """A sentence about boxes that cannot be pooled; None for good ones.

    Args:
        boxes: (n, 4) xyxy, finite, with x1 <= x2 and y1 <= y2, touching the image.
        size: (height, width) of the image, in the same pixels.
        index: of the image, for the message.
    """
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        return f'boxes of image {index} must be (n, 4) xyxy, got {boxes.shape}'
    x1, y1, x2, y2 = boxes.T
    height, width = size
    bad = ~np.isfinite(boxes).all(1) | (x2 < x1) | (y2 < y1)
    bad |= (x2 < 0) | (y2 < 0) | (x1 > width) | (y1 > height)
    if not bad.any():
        return None
    worst = int(np.flatnonzero(bad)[0])
    return (
        f'box {worst} of image {index} is {boxes[worst].tolist()}: expected finite '
        f'xyxy with x1 <= x2, y1 <= y2, touching the image of {width} x {height} '
        'pixels'
    )
