"""Class-wise NMS in NumPy."""

from __future__ import annotations

import numpy as np


def class_nms(
    bboxes: np.ndarray,
    scores: np.ndarray,
    score_thr: float,
    iou_threshold: float,
    max_per_img: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The best detections, as of :func:`fgclip2_det.models.roi_heads.class_nms`.

    Candidates are visited by descending score until there are enough.

    Args:
        bboxes: (n, 4) xyxy, shared by the classes.
        scores: (n, C); NaN is not a detection.
        score_thr: detections must score higher.
        iou_threshold: a box goes if its IoU with a better one of its class is larger.
        max_per_img: maximum number of detections; -1 keeps all.

    Returns:
        Boxes (k, 4), scores (k,), descending, and labels (k,) int64.
    """
    flat = scores.reshape(-1)
    candidates = np.flatnonzero(flat > score_thr)
    limit = max_per_img if max_per_img > 0 else len(candidates)
    overlaps = pairwise_iou(bboxes) > iou_threshold
    num = min(4 * limit, len(candidates))
    while True:
        best = _best(flat, candidates, num)
        kept = _greedy(overlaps, best, scores.shape[1], limit)
        if len(kept) >= limit or num == len(candidates):
            break
        num = min(4 * num, len(candidates))
    rows, labels = np.divmod(kept, scores.shape[1])
    return bboxes[rows], flat[kept], labels


def pairwise_iou(boxes: np.ndarray) -> np.ndarray:
    """(n, n) IoU of (n, 4) boxes; 0 for a pair of empty ones."""
    low = np.maximum(boxes[:, None, :2], boxes[:, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[:, 2:])
    inter = (high - low).clip(0).prod(-1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    union = areas[:, None] + areas - inter
    return np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)


def _best(flat: np.ndarray, candidates: np.ndarray, num: int) -> np.ndarray:
    """The ``num`` best candidates, the best first, equal ones in their order."""
    values = flat[candidates]
    if num < len(candidates):
        least = np.partition(values, len(values) - num)[len(values) - num]
        rows = np.flatnonzero(values >= least)
        candidates, values = candidates[rows], values[rows]
    return candidates[np.argsort(-values, kind='stable')[:num]]


def _greedy(
    overlaps: np.ndarray, best: np.ndarray, num_classes: int, limit: int
) -> np.ndarray:
    """Candidates that no better kept one of their class overlaps, at most ``limit``."""
    blocked: dict[int, np.ndarray] = {}
    kept = []
    for candidate in best.tolist():
        row, label = divmod(candidate, num_classes)
        own = blocked.get(label)
        if own is None:
            own = blocked[label] = np.zeros(len(overlaps), bool)
        if not own[row]:
            kept.append(candidate)
            own |= overlaps[row]
            if len(kept) == limit:
                break
    return np.array(kept, np.int64)
