"""Boxes of one image as arrays, and their IoU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ImageBoxes:
    """Boxes of one image, detected or true.

    Args:
        bboxes: (n, 4) float64, xywh in pixels, as COCO keeps them: the round trip
            through xyxy would move IoUs off a threshold.
        labels: (n,) int64.
        scores: (n,) float64; of detections.
        crowd: (n,) bool; of ground truth: detections inside are neither right nor
            wrong.
    """

    bboxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray | None = None
    crowd: np.ndarray | None = None


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, m) IoU of (n, 4) and (m, 4) xywh boxes; 0 where both are empty."""
    low = np.maximum(a[:, None, :2], b[:, :2])
    ends = [x[:, :2] + x[:, 2:] for x in (a, b)]
    high = np.minimum(ends[0][:, None], ends[1])
    shared = (high - low).clip(0).prod(2)
    total = a[:, 2:].prod(1)[:, None] + b[:, 2:].prod(1) - shared
    return np.divide(shared, total, out=np.zeros_like(shared), where=total > 0)
