"""``bbox_overlaps``: overlap of boxes."""

import torch
from torch import Tensor


def bbox_overlaps(
    bboxes1: Tensor,
    bboxes2: Tensor,
    ious: Tensor,
    mode: int,
    aligned: bool,
    offset: int,
) -> None:
    """Fill ``ious`` with the overlap of (M, 4) and (N, 4) xyxy boxes.

    Args:
        ious: (M, N), or (M,) when ``aligned`` pairs the boxes one by one.
        mode: 0 intersection over union, 1 over the first box's area.
        offset: 0, or 1 where a box of one pixel has ``x1 == x2``.
    """
    first = bboxes1 if aligned else bboxes1[:, None]
    low = torch.maximum(first[..., :2], bboxes2[..., :2])
    high = torch.minimum(first[..., 2:], bboxes2[..., 2:])
    inter = (high - low + offset).clamp(min=0).prod(-1)
    area = (first[..., 2:] - first[..., :2] + offset).prod(-1)
    if mode == 0:
        area = area + (bboxes2[:, 2:] - bboxes2[:, :2] + offset).prod(-1) - inter
    ious.copy_(inter / area)
