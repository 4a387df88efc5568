"""RoIAlign as a matrix product.

Average-pooled RoIAlign samples a feature map at a regular grid of points, and
bilinear weights factor over the two axes. So every output cell is
``wy F wx^T`` with one weight vector for each axis: exact, differentiable in the
features, exportable, and one matmul for all boxes of an image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fgclip2_det.fgclip2.grids import box_fault

CHUNK_ELEMENTS = 1 << 24  # weights held at once, 64 MB in fp32


def axis_weights(
    start: Tensor, end: Tensor, size: int, bins: int, sampling_ratio: int = 0
) -> Tensor:
    """Averaged bilinear sampling weights along one axis (aligned form).

    Args:
        start: (n,) lower box sides in cells of the map.
        end: (n,) upper box sides.
        size: cells of the map along this axis.
        bins: output cells along this axis.
        sampling_ratio: points per bin; 0 = ceil(bin length), as in RoIAlign.

    Returns:
        (n, bins, size) float32. A bin without points is all zero.

    Reference: Mask R-CNN (arXiv:1703.06870), section 3; ``aligned=True`` shifts
    boxes by half a cell.
    """
    start, length = start.float() - 0.5, (end - start).float()
    step = length / bins
    points = torch.ceil(step) if sampling_ratio <= 0 else torch.full_like(
        step, sampling_ratio
    )  # fmt: skip
    most = max(int(points.max()), 1) if len(points) else 1
    index = torch.arange(most, device=start.device, dtype=step.dtype)
    bin_index = torch.arange(bins, device=start.device, dtype=step.dtype)
    # (n, bins, most): centres of the sub-intervals of every bin
    offset = (index + 0.5) * (step / points.clamp(min=1))[:, None]
    x = (
        start[:, None, None]
        + bin_index[:, None] * step[:, None, None]
        + offset[:, None]
    )
    inside = (x >= -1) & (x <= size) & (index < points[:, None])[:, None]
    x = x.clamp(0, size - 1)
    low = x.floor()
    high_weight = (x - low) * inside
    low_weight = inside.float() - high_weight
    low = low.long()
    weights = x.new_zeros(len(x), bins, size)
    weights.scatter_add_(2, low, low_weight)
    weights.scatter_add_(2, (low + 1).clamp(max=size - 1), high_weight)
    return weights / points.clamp(min=1)[:, None, None]


def separable_roi_align(
    features: Tensor, bboxes: Tensor, output_size: int = 1, sampling_ratio: int = 0
) -> Tensor:
    """Average RoIAlign (``aligned=True``) of one feature map.

    Args:
        features: (h, w, D), any strides and any float type; sums run in fp32.
        bboxes: (n, 4) xyxy in cells of the map. n may be 0.
        output_size: k, for k x k outputs.
        sampling_ratio: points per bin and axis; 0 = adaptive.

    Returns:
        (n, k, k, D) in the type of ``features``.
    """
    h, w, dims = features.shape
    k = output_size
    flat = features.reshape(h * w, dims).float()
    with torch.no_grad(), torch.autocast(features.device.type, enabled=False):
        bboxes = bboxes.float()
        x1, y1, x2, y2 = bboxes.unbind(-1)
        wx = axis_weights(x1, x2, w, k, sampling_ratio)
        wy = axis_weights(y1, y2, h, k, sampling_ratio)
    chunk = max(1, CHUNK_ELEMENTS // (k * k * h * w))
    outs = []
    with torch.autocast(features.device.type, enabled=False):
        for rows, columns in zip(wy.split(chunk), wx.split(chunk), strict=True):
            weights = torch.einsum('nph,nqw->npqhw', rows, columns)
            outs.append(weights.flatten(3).flatten(0, 2) @ flat)
    pooled = torch.cat(outs) if outs else flat.new_zeros(0, dims)
    return pooled.view(-1, k, k, dims).to(features.dtype)


def pool_regions(
    maps: Sequence[Tensor], image_sizes: Sequence[Sequence[int]], bboxes: Sequence
) -> list[Tensor]:
    """Region features of B images: one vector per box (spec A.5).

    Args:
        maps: B dense maps (h, w, D), any strides; grids may differ.
        image_sizes: B pairs (height, width) in the pixels of the boxes.
        bboxes: B entries of (n, 4) xyxy, n >= 0.

    Returns:
        List of (n, D), not normalised.

    Raises:
        ValueError: for boxes with NaN, infinity or negative sizes, boxes entirely
            outside their image, or another shape than (n, 4), before anything is
            pooled.
    """
    sizes = [tuple(size) for size in image_sizes]
    checked = [
        check_bboxes(boxes, size, i)
        for i, (boxes, size) in enumerate(zip(bboxes, sizes, strict=True))
    ]
    pooled = []
    for features, boxes, (height, width) in zip(maps, checked, sizes, strict=True):
        h, w, _ = features.shape
        scale = boxes.new_tensor([w / width, h / height] * 2)
        cells = (boxes * scale).to(features.device)
        pooled.append(separable_roi_align(features, cells)[:, 0, 0])
    return pooled


def check_bboxes(bboxes: object, size: Sequence[int], index: int) -> Tensor:
    """(n, 4) float32 boxes; ValueError for what cannot be pooled."""
    boxes = torch.as_tensor(bboxes, dtype=torch.float32)
    if boxes.numel() == 0:
        return boxes.new_zeros(0, 4)
    if fault := box_fault(boxes.detach().cpu().numpy(), size, index):
        raise ValueError(fault)
    return boxes
