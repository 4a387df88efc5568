"""Boxes of one image as arrays, with IoU and NMS."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class ImageBoxes:
    """Boxes of one image, detected or true.

    Args:
        bboxes: (n, 4) float64, xywh in pixels, as COCO keeps them: the round trip
            through xyxy would move IoUs off a threshold.
        labels: (n,) int64.
        scores: (n,) float64; of detections.
        crowd: (n,) bool, of ground truth, as ``iscrowd``: detections inside are
            ignored.
    """

    bboxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray | None = None
    crowd: np.ndarray | None = None


def given_column(values: np.ndarray | None, name: str) -> np.ndarray:
    """``scores`` or ``crowd`` of boxes that must have them.

    Raises:
        ValueError: where they are None.
    """
    if values is None:
        raise ValueError(f'these boxes need {name}; give one for every box')
    return values


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, m) IoU of (n, 4) and (m, 4) xywh boxes; 0 where both are empty."""
    low = np.maximum(a[:, None, :2], b[:, :2])
    ends = [x[:, :2] + x[:, 2:] for x in (a, b)]
    high = np.minimum(ends[0][:, None], ends[1])
    shared = (high - low).clip(0).prod(2)
    total = a[:, 2:].prod(1)[:, None] + b[:, 2:].prod(1) - shared
    return np.divide(shared, total, out=np.zeros_like(shared), where=total > 0)


def greedy_nms(
    bboxes: np.ndarray, scores: np.ndarray, iou_threshold: float, inclusive: bool
) -> np.ndarray:
    """Indices of the (n, 4) xywh boxes that NMS keeps, best first.

    Args:
        bboxes: (n, 4) float64 xywh in pixels.
        scores: (n,); of equal ones the earlier box comes first.
        iou_threshold: boxes that overlap a better one by more than this are removed.
        inclusive: boxes that overlap by exactly this are removed as well.

    Returns:
        (m,) int64.
    """
    order = np.argsort(-scores, kind='stable')
    iou = box_iou(bboxes[order], bboxes[order])
    overlaps = iou >= iou_threshold if inclusive else iou > iou_threshold
    keep = np.ones(len(order), bool)
    for i in range(len(order)):
        if keep[i]:
            keep[i + 1 :] &= ~overlaps[i, i + 1 :]
    return order[keep]


def merge_duplicates(image: ImageBoxes, iou_threshold: float) -> ImageBoxes:
    """Detections of one image as if there were one class: labels 0, no duplicates.

    A detector may give one box several labels; of boxes that overlap by
    ``iou_threshold`` or more the best scored stays.
    """
    scores = given_column(image.scores, 'scores')
    kept = greedy_nms(image.bboxes, scores, iou_threshold, inclusive=True)
    return ImageBoxes(image.bboxes[kept], np.zeros(len(kept), np.int64), scores[kept])


def merge_classes(image: ImageBoxes) -> ImageBoxes:
    """The same boxes, all with label 0."""
    return replace(image, labels=np.zeros_like(image.labels))
