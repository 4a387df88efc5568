"""Class-wise NMS that is exact for any number of classes and any image size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from mmcv.ops import batched_nms, nms
from torch import Tensor

_AT_ONCE = 512  # boxes whose overlaps are compared in one matrix


def nms_by_label(
    boxes: Tensor, scores: Tensor, labels: Tensor, nms_cfg: Mapping | None
) -> tuple[Tensor, Tensor]:
    """NMS within each label, which ``mmcv.ops.batched_nms`` approximates.

    mmcv offsets the boxes of label k by k times the largest coordinate and runs one
    NMS. In float32, the offset boxes lose fractions of pixels and then whole pixels: at
    label 12,999 of a 1,024 pixel image, coordinates are multiples of 1, and boxes with
    negative coordinates overlap those of the previous label. No offsets are used here.

    Args:
        boxes: (n, 4) xyxy.
        scores: (n,); NaN counts as the lowest.
        labels: (n,) int64.
        nms_cfg: as for ``batched_nms``, ``dict(type='nms', iou_threshold=0.5)``; other
            types and options call mmcv's op for each label. None: no NMS.

    Returns:
        Boxes with scores (k, 5), by descending score, and their rows (k,).
    """
    options = dict(nms_cfg or {})
    limit = options.pop('max_num', -1)
    if nms_cfg is None or options.get('class_agnostic') or not len(boxes):
        return batched_nms(boxes, scores, labels, nms_cfg)
    options.pop('split_thr', None)  # an option of mmcv to save memory
    if is_plain(options):
        keep = torch.cat(list(_keep_plain(boxes, scores, labels, options)))
        kept = scores[keep]
    else:
        kept, keep = _each_label(boxes, scores, labels, options)
    order = _lowest_nan(kept).argsort(descending=True, stable=True)
    order = order[:limit] if limit > 0 else order
    keep = keep[order]
    return torch.cat([boxes[keep], kept[order, None]], 1), keep


def is_plain(nms_cfg: Mapping) -> bool:
    """Whether it is greedy NMS with only a threshold."""
    known = {'type', 'iou_threshold', 'split_thr'}
    return nms_cfg.get('type', 'nms') == 'nms' and set(nms_cfg) <= known


def pairwise_iou(boxes: Tensor) -> Tensor:
    """(n, n) IoU of (n, 4) boxes; 0 for a pair of empty ones."""
    low = torch.maximum(boxes[:, None, :2], boxes[:, :2])
    high = torch.minimum(boxes[:, None, 2:], boxes[:, 2:])
    inter = (high - low).clamp(min=0).prod(-1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    return (inter / (areas[:, None] + areas - inter)).nan_to_num(0.0)


def keep_first(over: Tensor) -> Tensor:
    """(m,) bool: the greedy selection among m candidates, the best first.

    Iterates ``keep[j] = not any(over[i, j] and keep[i], i < j)`` from all True. After t
    iterations the first t values are final, so a fixed point is the solution.

    Args:
        over: (m, m) bool, pairs that overlap too much.
    """
    over = over.triu(1)
    keep, last = ~over.any(0), None
    while last is None or not torch.equal(keep, last):
        keep, last = ~over[keep].any(0), keep
    return keep


def _keep_plain(
    boxes: Tensor, scores: Tensor, labels: Tensor, options: Mapping
) -> Iterator[Tensor]:
    """Rows to keep, computed for several labels at a time."""
    threshold = options['iou_threshold']
    order = _lowest_nan(scores).argsort(descending=True, stable=True)
    order = order[labels[order].argsort(stable=True)]  # label by label, the best first
    counts = labels[order].unique_consecutive(return_counts=True)[1]
    alone = (counts == 1).repeat_interleave(counts)
    yield order[alone]
    order, counts = order[~alone], counts[counts > 1].tolist()
    for rows in order.split(_group(counts)):
        if len(rows) > _AT_ONCE:  # of one label
            yield rows[nms(boxes[rows], scores[rows], threshold)[1]]
            continue
        own = labels[rows]
        over = (pairwise_iou(boxes[rows]) > threshold) & (own[:, None] == own)
        yield rows[keep_first(over)]


def _group(counts: list[int]) -> list[int]:
    """Sums of neighbouring counts, each at most ``_AT_ONCE`` if possible."""
    groups: list[int] = []
    for count in counts:
        if groups and groups[-1] + count <= _AT_ONCE:
            groups[-1] += count
        else:
            groups.append(count)
    return groups


def _each_label(
    boxes: Tensor, scores: Tensor, labels: Tensor, options: dict
) -> tuple[Tensor, Tensor]:
    """Scores and rows kept by another type of mmcv's NMS, label by label."""
    kept, keep = [], []
    for label in labels.unique():
        rows = (labels == label).nonzero()[:, 0]
        dets, own = batched_nms(boxes[rows], scores[rows], labels[rows], options, True)
        kept.append(dets[:, -1])
        keep.append(rows[own])
    return torch.cat(kept), torch.cat(keep)


def _lowest_nan(scores: Tensor) -> Tensor:
    return scores.masked_fill(scores.isnan(), float('-inf'))
