"""Maps of scores stretched to an image's pixels, and the best name of each pixel."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK_ELEMENTS = 1 << 24  # scores held at once: 64 MB in float32


def stretch(
    values: Tensor,
    dim: int,
    size: int,
    start: int,
    stop: int,
    extent: float | None = None,
) -> Tensor:
    """Part of a linear interpolation along one side.

    Args:
        values: a map of any shape.
        dim: the side.
        size: its length after the whole interpolation.
        start, stop: which places of these to return.
        extent: cells of the map, from its start, that the ``size`` places cover; all
            of them when None. Fewer where the map goes on over padding.

    Returns:
        As ``values``, with stop - start places along ``dim``. The same as
        ``F.interpolate(..., align_corners=False)``.
    """
    length = values.shape[dim]
    centers = torch.arange(start, stop, dtype=torch.float64, device='cpu') + 0.5
    step = (length if extent is None else extent) / size
    places = (centers * step - 0.5).clamp(0, length - 1)
    low = places.floor().long()
    shape = [-1 if d == dim % values.ndim else 1 for d in range(values.ndim)]
    weight = (places - low).to(values).reshape(shape)
    low = low.to(values.device)
    high = (low + 1).clamp(max=length - 1)
    return values.index_select(dim, low).lerp(values.index_select(dim, high), weight)


def best_names(
    scores: Tensor,
    size: tuple[int, int],
    extent: tuple[float, float] | None = None,
    block_elements: int = BLOCK_ELEMENTS,
) -> tuple[Tensor, Tensor]:
    """The best name of every pixel, and its score.

    Scores are stretched to the image, bilinearly and with pixel centres in place; rows
    of pixels are done in blocks, with the same result.

    Args:
        scores: (T, h, w).
        size: (H, W) of the image.
        extent: cells (down, across) of ``scores`` that the image covers, from the upper
            left corner; all of them when None.
        block_elements: scores held at once.

    Returns:
        (H, W) int64, row of ``scores``, the first of equal ones; and (H, W) its score.
    """
    (height, width), num_names = size, len(scores)
    down, across = extent or (None, None)
    scores = stretch(scores, 2, width, 0, width, across)  # (T, h, W)
    rows = max(1, block_elements // (num_names * width))
    parts = [
        stretch(scores, 1, height, start, min(start + rows, height), down).max(0)
        for start in range(0, height, rows)
    ]
    return torch.cat([p.indices for p in parts]), torch.cat([p.values for p in parts])
