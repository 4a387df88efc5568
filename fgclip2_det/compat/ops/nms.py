"""Greedy and soft non-maximum suppression."""

import numpy as np
import torch
from torch import Tensor

from fgclip2_det.compat.ops.backends import compute_dtype, torchvision_ops

MAX_PAIRS = 2**18  # IoUs held at a time: a few 1 MB arrays, whatever N is


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the boxes that no kept box of a higher score overlaps too much.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,). Equal scores keep the order of ``scores.sort``.
        iou_threshold: a box is removed if its IoU is strictly larger.
        offset: 0, or 1 where a box of one pixel has ``x1 == x2``.

    Returns:
        (K,) int64, by descending score.
    """
    order = scores.sort(0, descending=True)[1]
    torchvision = torchvision_ops()
    if torchvision is not None and offset == 0:
        # torchvision sorts equal scores in another way, and would keep other boxes:
        # it gets them in order, with scores that fall
        dtype = compute_dtype(boxes)
        ranks = torch.arange(len(order), 0, -1, dtype=dtype, device=boxes.device)
        kept = torchvision.nms(boxes[order].to(dtype), ranks, iou_threshold)
        return order[kept]
    columns = _columns(boxes[order], offset)
    rest: np.ndarray = np.arange(len(order))
    heads: list[np.ndarray] = [np.arange(0)]
    while len(rest):
        size = min(max(MAX_PAIRS // len(rest), 1), 128)
        head, rest = rest[:size], rest[size:]
        over = _overlaps(columns[:, head], columns[:, head], offset) > iou_threshold
        heads.append(head[_keep_first(over)])
        over = _overlaps(columns[:, heads[-1]], columns[:, rest], offset)
        rest = rest[~(over > iou_threshold).any(0)]
    return order[torch.from_numpy(np.concatenate(heads)).to(order.device)]


def _columns(boxes: Tensor, offset: int) -> np.ndarray:
    """(5, N): x1, y1, x2, y2, area. In NumPy, since threads slow down small blocks."""
    x1, y1, x2, y2 = boxes.detach().to('cpu', compute_dtype(boxes)).T.numpy()
    return np.stack([x1, y1, x2, y2, (x2 - x1 + offset) * (y2 - y1 + offset)])


def _overlaps(first: np.ndarray, second: np.ndarray, offset: int) -> np.ndarray:
    """(M, N) IoU of (5, M) and (5, N) columns, in the compiled op's order of steps."""
    first = first[:, :, None]
    inter = 1
    for low, high in ((0, 2), (1, 3)):
        side = np.minimum(first[high], second[high])
        side -= np.maximum(first[low], second[low])
        side += offset
        inter *= np.maximum(side, 0, out=side)
    union = first[4] + second[4]
    union -= inter
    with np.errstate(invalid='ignore', divide='ignore'):  # 0 / 0 of empty boxes
        return np.divide(inter, union, out=union)


def _keep_first(over: np.ndarray) -> np.ndarray:
    """(B,) bool: the greedy selection among B sorted boxes.

    Iterates ``keep[j] = not any(over[i, j] and keep[i], i < j)`` from all True. After t
    iterations the first t values are final, so the first fixed point is the solution.
    """
    over = np.triu(over, 1)
    keep, last = ~over.any(0), None
    while last is None or (keep != last).any():
        keep, last = ~over[keep].any(0), keep
    return np.asarray(keep)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft-NMS: overlaps decrease scores, and low scores are dropped.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        dets: (N, 5), filled with the K kept boxes and their new scores.
        iou_threshold: overlap from which methods 0 and 1 act.
        sigma: width of method 2.
        min_score: boxes below it are dropped.
        method: 0 naive, 1 linear (1 - IoU), 2 Gaussian exp(-IoU^2 / sigma).
        offset: as in ``nms``.

    Returns:
        (K,) int64, in the order of ``dets``.

    Reference: Soft-NMS (arXiv:1704.04503), section 3.
    """
    # rows: x1, y1, x2, y2, area, score; swapped as the compiled op swaps, for ties
    columns = _columns(boxes, offset)
    values = scores.detach().to('cpu', compute_dtype(boxes)).numpy()
    columns = np.concatenate([columns, values[None]])
    inds = np.arange(len(boxes))
    start = 0
    while start < len(inds):
        best = start + int(columns[5, start:].argmax())
        columns[:, [start, best]] = columns[:, [best, start]]
        inds[[start, best]] = inds[[best, start]]
        iou = _overlaps(columns[:5, [start]], columns[:5, start + 1 :], offset)[0]
        rest = columns[5, start + 1 :]
        if method == 2:
            rest *= np.exp(-(iou * iou) / iou.dtype.type(sigma))
        else:
            factor = 1 - iou if method == 1 else 0
            rest *= np.where(iou >= iou_threshold, factor, iou.dtype.type(1))
        start += 1
        dropped = rest < min_score
        if dropped.any():
            select = _fill_holes(~dropped, start)
            columns, inds = columns[:, select], inds[select]
    dets[: len(inds)] = torch.from_numpy(columns[[0, 1, 2, 3, 5]].T).to(dets)
    return torch.from_numpy(inds).to(boxes.device)


def _fill_holes(alive: np.ndarray, start: int) -> np.ndarray:
    """Positions to keep when each dropped box is replaced by the last one alive."""
    count = int(alive.sum())
    select = np.arange(start, start + count)
    select[~alive[:count]] = start + count + np.flatnonzero(alive[count:])[::-1]
    return np.concatenate([np.arange(start), select])


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Groups of indices: each kept box, then the boxes it suppressed.

    Args:
        dets: (N, 5) xyxy and score.
        iou_threshold: a box joins a group when its IoU is at least this.
    """
    order = dets[:, 4].sort(0, descending=True)[1]
    columns, groups = _columns(dets[order, :4], 0), []
    order = order.cpu().numpy()
    while len(order):
        over = _overlaps(columns[:, :1], columns[:, 1:], 0)[0] >= iou_threshold
        groups.append([int(order[0]), *order[1:][over].tolist()])
        columns, order = columns[:, 1:][:, ~over], order[1:][~over]
    return groups
