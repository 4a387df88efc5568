"""Tokens of regions: cells of a grid over a box and its surroundings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fgclip2_det.fgclip2.roi import check_bboxes, separable_roi_align


def region_tokens(
    states: Tensor,
    image_size: tuple[int, int],
    bboxes: Tensor,
    grid: int,
    context: float,
) -> Tensor:
    """One token for each box and S x S tokens of its surroundings.

    The surroundings are the box enlarged about its centre; what lies outside the image
    repeats its border. A cell is sampled at 2 x 2 points.

    Args:
        states: (h, w, W) of one image, as :meth:`.DualEncoder.encode_grids` has them.
        image_size: (height, width) in the pixels of the boxes.
        bboxes: (n, 4) xyxy, n >= 0, as :meth:`.DualEncoder.region_features` takes them.
        grid: S.
        context: sides of the surroundings, as a multiple of the box's.

    Returns:
        (n, 1 + S * S, W): the box as ``region_features`` pools its map, then the cells
        row by row.

    Raises:
        ValueError: for boxes that cannot be pooled.
    """
    boxes = check_bboxes(bboxes, image_size, 0).to(states.device)
    h, w, _ = states.shape
    height, width = image_size
    cells = boxes * boxes.new_tensor([w / width, h / height] * 2)
    whole = separable_roi_align(states, cells)[:, 0]
    centres = (cells[:, :2] + cells[:, 2:]) / 2
    halves = (cells[:, 2:] - cells[:, :2]) / 2 * context
    around = torch.cat([centres - halves, centres + halves], 1)
    # a border of copies instead of RoIAlign's zeros, whatever a box reaches beyond
    tokens = _sample(states, around, grid)
    return torch.cat([whole, tokens], 1)


def _sample(states: Tensor, boxes: Tensor, grid: int) -> Tensor:
    """(n, S * S, W): means of 2 x 2 bilinear samples of each cell, which are weighted
    sums of 16 places of the map."""
    h, w, width = states.shape
    x1, y1, x2, y2 = boxes.float().unbind(-1)
    columns, column_weights = _neighbours(x1, x2, w, grid)
    rows, row_weights = _neighbours(y1, y2, h, grid)
    places = rows[:, :, None, :, None] * w + columns[:, None, :, None, :]
    weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
    cells = F.embedding_bag(
        places.reshape(-1, 16),
        states.reshape(h * w, width),
        per_sample_weights=weights.reshape(-1, 16).to(states.dtype),
        mode='sum',
    )
    return cells.reshape(-1, grid**2, width)


def _neighbours(
    start: Tensor, end: Tensor, size: int, bins: int
) -> tuple[Tensor, Tensor]:
    """Indices and weights (n, bins, 4): of two points of each bin the two neighbours,
    averaged; points outside take the border."""
    step = (end - start) / (2 * bins)
    index = torch.arange(2 * bins, device=start.device) + 0.5
    points = start[:, None] + index * step[:, None] - 0.5  # centres of cells are whole
    points = points.clamp(0, size - 1)
    low = points.floor().clamp(max=max(size - 2, 0))
    share = points - low
    places = torch.stack([low, (low + 1).clamp(max=size - 1)], -1).long()
    weights = torch.stack([1 - share, share], -1) / 2
    return places.reshape(-1, bins, 4), weights.reshape(-1, bins, 4)
