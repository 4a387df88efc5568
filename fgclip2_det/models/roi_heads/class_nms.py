"""Class-wise NMS of many names on few boxes."""

from __future__ import annotations

import torch
from mmdet.models.layers import multiclass_nms
from torch import Tensor

MOST = 8192  # candidates compared at once: 64 MB


def class_nms(
    bboxes: Tensor,
    scores: Tensor,
    score_thr: float,
    nms: dict,
    max_per_img: int,
) -> tuple[Tensor, Tensor]:
    """The best detections after NMS in every class, as ``multiclass_nms`` gives them.

    All names share one box a region here, so overlaps are computed once for the boxes.
    NMS goes by descending score, so the best ``max_per_img`` detections depend on the
    best candidates alone: as many are taken as decide the answer, however many names
    pass the threshold.

    Args:
        bboxes: (n, 4) xyxy.
        scores: (n, C).
        score_thr: lowest score that counts, exclusive.
        nms: ``dict(type='nms', iou_threshold=0.5)``; other kinds are MMDetection's.
        max_per_img: D, detections at most.

    Returns:
        Boxes with scores (k, 5), by descending score, and labels (k,), k <= D.
    """
    plain = nms.get('type') == 'nms' and set(nms) <= {'type', 'iou_threshold'}
    if not plain or max_per_img < 1:  # -1 keeps all
        return _mmdet_nms(bboxes, scores, score_thr, nms, max_per_img)
    num_classes = scores.shape[1]
    flat = scores.flatten()
    found = int((flat > score_thr).sum())
    overlaps = _overlaps(bboxes) > nms['iou_threshold']
    num = min(4 * max_per_img, found)
    while num <= MOST:
        best, index = flat.topk(num)
        box, label = index // num_classes, index % num_classes
        kept = _greedy(overlaps, box, label)[:max_per_img]
        if len(kept) == max_per_img or num == found:
            dets = torch.cat([bboxes[box[kept]], best[kept, None]], 1)
            return dets, label[kept]
        num = min(4 * num, found)
    return _mmdet_nms(bboxes, scores, score_thr, nms, max_per_img)


def _mmdet_nms(
    bboxes: Tensor, scores: Tensor, score_thr: float, nms: dict, max_per_img: int
) -> tuple[Tensor, Tensor]:
    background = scores.new_zeros(len(scores), 1)  # its last column
    scores = torch.cat([scores, background], 1)
    return multiclass_nms(bboxes, scores, score_thr, nms, max_per_img)


def _greedy(overlaps: Tensor, box: Tensor, label: Tensor) -> Tensor:
    """Indices of candidates that no better, kept one of their class overlaps.

    ``keep[j] = not any(over[i, j] and keep[i], i < j)`` iterated from all True:
    round t settles candidate t at the latest, so a fixed point is the answer.
    """
    over = overlaps[box[:, None], box] & (label[:, None] == label)
    over = over.triu(1)
    keep, last = ~over.any(0), None
    while last is None or not torch.equal(keep, last):
        keep, last = ~over[keep].any(0), keep
    return keep.nonzero()[:, 0]


def _overlaps(bboxes: Tensor) -> Tensor:
    """(n, n) IoU; 0 for a pair of empty boxes."""
    low = torch.maximum(bboxes[:, None, :2], bboxes[:, :2])
    high = torch.minimum(bboxes[:, None, 2:], bboxes[:, 2:])
    inter = (high - low).clamp(min=0).prod(-1)
    areas = (bboxes[:, 2:] - bboxes[:, :2]).prod(-1)
    return (inter / (areas[:, None] + areas - inter)).nan_to_num(0.0)
