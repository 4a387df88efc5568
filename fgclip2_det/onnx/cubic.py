"""Bicubic resampling as products with weights that are computed in the graph."""

from __future__ import annotations

import torch
from torch import Tensor

PLAIN, ANTIALIASED = -0.75, -0.5  # PyTorch's parameters of the cubic kernel


def cubic(x: Tensor, a: float) -> Tensor:
    """Kernel of cubic convolution at distances x >= 0; 0 from 2 on.

    Reference: Keys, Cubic convolution interpolation for digital image processing
    (1981), equation 15 with its parameter ``a``.
    """
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def cubic_weights(size: int, source: int) -> Tensor:
    """(size, source) weights of 1-D bicubic resampling, for a size that is known when
    the graph runs: four taps a row, those beyond the border on the border's cell, as
    ``F.interpolate(mode='bicubic')`` has it. The identity where the sizes are equal.
    """
    scale = source / torch.scalar_tensor(size, dtype=torch.float32)
    centers = (torch.arange(size, dtype=torch.float32) + 0.5) * scale - 0.5
    first = centers.floor()
    taps = first[:, None] + torch.arange(-1, 3, dtype=torch.float32)  # (size, 4)
    weights = cubic((centers[:, None] - taps).abs(), PLAIN)
    cells = torch.arange(source, dtype=torch.float32)
    hits = (taps.clamp(0, source - 1)[..., None] == cells).float()  # (size, 4, source)
    return (weights[..., None] * hits).sum(1)


def antialiased_cubic_weights(cells: int, size: int, source: int) -> Tensor:
    """(cells * size, cells * source) weights that resize every cell of an axis, each
    row divided by its sum, as ``F.interpolate(mode='bicubic', antialias=True)``.

    Args:
        cells: known when the graph runs.
        size, source: of a cell in pixels.
    """
    scale = source / size
    rows = torch.arange(cells * size, dtype=torch.float32)
    columns = torch.arange(cells * source, dtype=torch.float32)
    centers = (rows + 0.5) * scale
    distances = (columns + 0.5 - centers[:, None]).abs() / max(scale, 1)
    weights = cubic(distances, ANTIALIASED)
    return weights / weights.sum(1, keepdim=True)
