"""Tokens of regions: cells of a grid over a box and its surroundings."""

from __future__ import annotations

import torch
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
    """(n, S * S, W): means of 2 x 2 bilinear samples of each cell."""
    h, w, dims = states.shape
    x1, y1, x2, y2 = boxes.float().unbind(-1)
    columns = _weights(x1, x2, w, grid).to(states.dtype)
    rows = _weights(y1, y2, h, grid).to(states.dtype)
    lines = torch.einsum('nph,hwd->npwd', rows, states)
    return torch.einsum('nqw,npwd->npqd', columns, lines).reshape(-1, grid**2, dims)


def _weights(start: Tensor, end: Tensor, size: int, bins: int) -> Tensor:
    """(n, bins, size): bilinear weights at two points of each bin, averaged; points
    outside take the border."""
    step = (end - start) / (2 * bins)
    index = torch.arange(2 * bins, device=start.device) + 0.5
    points = start[:, None] + index * step[:, None] - 0.5  # centres of cells are whole
    points = points.clamp(0, size - 1)[..., None]
    places = torch.arange(size, device=start.device)
    weights = (1 - (points - places).abs()).clamp(min=0)  # (n, 2 * bins, size)
    return weights.unflatten(1, (bins, 2)).mean(2)
