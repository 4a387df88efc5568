"""Class-wise NMS for many classes that share few boxes."""

from __future__ import annotations

import torch
from torch import Tensor

from fgclip2_det.models.label_nms import (
    is_plain,
    keep_first,
    nms_by_label,
    pairwise_iou,
)

MAX_COMPARED = 8192  # candidates compared at once: 64 MB


def class_nms(
    bboxes: Tensor,
    scores: Tensor,
    score_thr: float,
    nms: dict,
    max_per_img: int,
) -> tuple[Tensor, Tensor]:
    """The best detections after class-wise NMS, as defined by ``multiclass_nms``.

    All classes share one box per region here, so overlaps are computed once. NMS visits
    candidates by descending score, so the best ``max_per_img`` detections only depend
    on the best candidates: just enough of them are processed, however many classes pass
    the threshold. Of equal scores the first box, and its first class, comes first.
    Exact for large labels and images, see :mod:`..label_nms`.

    Args:
        bboxes: (n, 4) xyxy.
        scores: (n, C); NaN is not a detection.
        score_thr: detections must score higher.
        nms: ``dict(type='nms', iou_threshold=0.5)``; other types are run by mmcv.
        max_per_img: D, maximum number of detections.

    Returns:
        Boxes with scores (k, 5), by descending score, and labels (k,), k <= D.
    """
    flat = scores.flatten()
    flat = flat.masked_fill(flat.isnan(), float('-inf'))  # which sort puts first
    num_candidates = int((flat > score_thr).sum())
    limit = max_per_img if max_per_img > 0 else num_candidates  # -1 keeps all
    num = min(4 * limit, num_candidates) if is_plain(nms) else num_candidates
    overlaps = None
    while True:
        best, index = _best(flat, num)
        box, label = index // scores.shape[1], index % scores.shape[1]
        if is_plain(nms) and num <= MAX_COMPARED:
            if overlaps is None:
                overlaps = pairwise_iou(bboxes) > nms['iou_threshold']
            kept = _greedy(overlaps, box, label)
            dets = torch.cat([bboxes[box[kept]], best[kept, None]], 1)
        else:
            dets, kept = nms_by_label(bboxes[box], best, label, nms)
        if len(kept) >= limit or num == num_candidates:
            return dets[:limit], label[kept][:limit]
        num = min(4 * num, num_candidates)


def _best(flat: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """The ``num`` highest values and where they stand, equal ones in their order, of
    which ``topk`` takes any."""
    index = torch.arange(len(flat) if num else 0, device=flat.device)
    if num < len(index):
        index = (flat >= flat.topk(num).values[-1]).nonzero()[:, 0]
    best, order = flat[index].sort(descending=True, stable=True)
    return best[:num], index[order[:num]]


def _greedy(overlaps: Tensor, box: Tensor, label: Tensor) -> Tensor:
    """Indices of candidates without overlap with a better kept one of their class."""
    over = overlaps[box[:, None], box] & (label[:, None] == label)
    return keep_first(over).nonzero()[:, 0]
