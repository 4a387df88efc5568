"""Matching of detections to ground truth, all images and classes at once.

The rules are those of pycocotools and of lvis-api: detections of one class and image,
best first, take the free object of the highest IoU; an object that is to be ignored is
taken only where no other is left, and a crowd may be taken many times.

All values are in columns: an object per box and a list per pair of image and class
would take too much memory for LVIS.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fgclip2_det.coco.ground_truths import Truths
from fgclip2_det.coco.results import Results

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
_COMBINATIONS = 1 << 22  # overlaps computed at a time


@dataclass(frozen=True)
class RankedDetections:
    """Detections that count, by pair of class and image, best first.

    Attributes:
        keys: (N,) int64 pair keys, rising.
        scores: (N,) float64, falling within a pair; ties are in the file's order.
        areas: (N,) float64.
        ranks: (N,) place within the pair, from 0.
        rows: (N,) row in the results.
    """

    keys: np.ndarray
    scores: np.ndarray
    areas: np.ndarray
    ranks: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class Overlaps:
    """Pairs of detection and object with an IoU of at least 0.5: E of them.

    Attributes:
        detection: (E,) index into the detections, rising.
        truth: (E,) index into the ground truth.
        iou: (E,) float64.
    """

    detection: np.ndarray
    truth: np.ndarray
    iou: np.ndarray


def ranks_within(keys: np.ndarray) -> np.ndarray:
    """(N,) place among equal neighbours of rising (N,) keys, from 0."""
    places = np.arange(len(keys))
    return places - places[np.searchsorted(keys, keys, 'left')] if len(keys) else places


def best_per_key(keys: np.ndarray, scores: np.ndarray, limit: int) -> np.ndarray:
    """(N,) bool: the ``limit`` best scored of each key, an index from 0; of ties the
    earlier rows."""
    crowded = np.flatnonzero((np.bincount(keys) > limit)[keys])
    order = crowded[np.lexsort((-scores[crowded], keys[crowded]))]
    kept = np.ones(len(keys), bool)
    kept[order[ranks_within(keys[order]) >= limit]] = False
    return kept


def arrange(results: Results, rows: np.ndarray, truths: Truths) -> RankedDetections:
    """Detections of some rows of the results."""
    keys = truths.keys(results.image[rows], results.category[rows])
    order = np.lexsort((-results.scores[rows], keys))
    rows, keys = rows[order], keys[order]
    areas = results.areas[rows] if results.areas is not None else None
    if areas is None:
        areas = results.bboxes[rows, 2] * results.bboxes[rows, 3]
    return RankedDetections(keys, results.scores[rows], areas, ranks_within(keys), rows)


def find_overlaps(
    detections: RankedDetections, results: Results, truths: Truths, crowd: np.ndarray
) -> Overlaps:
    """IoUs of detections with the objects of their class and image.

    Args:
        detections: arranged rows of ``results``.
        results: masks decide where they have some, else boxes.
        truths: the ground truth.
        crowd: (G,) bool; the IoU with a crowd is the share of the detection inside.
    """
    truth_keys = truths.keys(truths.image, truths.category)
    order = np.argsort(truth_keys, kind='stable')
    start = np.searchsorted(truth_keys[order], detections.keys, 'left')
    counts = np.searchsorted(truth_keys[order], detections.keys, 'right') - start
    with_truth = np.flatnonzero(counts)
    measure = _box_ious if results.masks is None else _mask_ious
    parts = []
    for block in _blocks(detections.keys[with_truth], counts[with_truth]):
        chosen = with_truth[block]
        repeats = counts[chosen]
        detection = np.repeat(chosen, repeats)
        ends = np.cumsum(repeats)
        within = np.arange(len(detection)) - np.repeat(ends - repeats, repeats)
        truth = order[np.repeat(start[chosen], repeats) + within]
        iou = measure(detections, results, truths, crowd, detection, truth)
        near = iou >= IOU_THRESHOLDS[0]
        parts.append((detection[near], truth[near], iou[near]))
    none = np.zeros(0, np.int64)
    columns = zip(*[*parts, (none, none, np.zeros(0))], strict=True)
    return Overlaps(*(np.concatenate(column) for column in columns))


def _blocks(keys: np.ndarray, counts: np.ndarray) -> Iterator[slice]:
    """Slices with about ``_COMBINATIONS`` combinations each; no pair is cut."""
    total, first = np.cumsum(counts), 0
    while first < len(keys):
        before = total[first - 1] if first else 0
        last = int(np.searchsorted(total, before + _COMBINATIONS, 'left'))
        last = min(last, len(keys) - 1)
        stop = int(np.searchsorted(keys, keys[last], 'right'))
        yield slice(first, stop)
        first = stop


def _box_ious(
    detections: RankedDetections,
    results: Results,
    truths: Truths,
    crowd: np.ndarray,
    detection: np.ndarray,
    truth: np.ndarray,
) -> np.ndarray:
    dt = results.bboxes[detections.rows[detection]]
    gt = truths.bboxes[truth]
    low = np.maximum(dt[:, :2], gt[:, :2])
    high = np.minimum(dt[:, :2] + dt[:, 2:], gt[:, :2] + gt[:, 2:])
    shared = (high - low).clip(0).prod(1)
    area = dt[:, 2] * dt[:, 3]
    both = area + gt[:, 2] * gt[:, 3] - shared
    total = np.where(crowd[truth], area, both)
    return np.divide(shared, total, out=np.zeros_like(shared), where=shared > 0)


def _mask_ious(
    detections: RankedDetections,
    results: Results,
    truths: Truths,
    crowd: np.ndarray,
    detection: np.ndarray,
    truth: np.ndarray,
) -> np.ndarray:
    from pycocotools import mask as mask_utils  # for masks alone

    if results.masks is None or truths.masks is None:
        raise ValueError('IoU of masks needs masks of detections and of objects')
    iou = np.zeros(len(detection))
    keys = detections.keys[detection]
    bounds = np.flatnonzero(np.diff(keys, prepend=-1, append=-1))
    for first, last in pairwise(bounds):
        chosen = np.unique(detection[first:last])
        objects = truth[first : first + (last - first) // len(chosen)]
        ious = mask_utils.iou(
            results.masks[detections.rows[chosen]].tolist(),
            truths.masks[objects].tolist(),
            crowd[objects].tolist(),
        )
        iou[first:last] = np.ravel(ious)  # (detections, objects), row by row
    return iou


@dataclass(frozen=True)
class Contest:
    """Overlaps in the order in which detections take objects: all pairs of class and
    image take turns together, first their best detection (among those with overlaps),
    then the next, and each looks at its nearest object first, of equal IoUs the later.

    Attributes:
        of_hit: (E,) which of the H detections with overlaps.
        truth: (E,) index into the ground truth.
        near: (10, E) bool: the IoU is at least the threshold.
        turns: (E,) rising.
        step: (E,) rising, equal for the overlaps of one detection.
        num_hits: H.
    """

    of_hit: np.ndarray
    truth: np.ndarray
    near: np.ndarray
    turns: np.ndarray
    step: np.ndarray
    num_hits: int

    @classmethod
    def of(cls, overlaps: Overlaps, turns: np.ndarray) -> Contest:
        """The order.

        Args:
            overlaps: E of them.
            turns: (E,) place of the detection of each overlap within its pair.
        """
        _, of_hit = np.unique(overlaps.detection, return_inverse=True)
        order = np.lexsort((-overlaps.truth, -overlaps.iou, of_hit, turns))
        num_hits, of_hit = int(of_hit.max(initial=-1)) + 1, of_hit[order]
        return cls(
            of_hit,
            overlaps.truth[order],
            overlaps.iou[order] >= IOU_THRESHOLDS[:, None],
            turns[order],
            np.cumsum(np.diff(of_hit, prepend=-1) != 0),
            num_hits,
        )


def match(
    contest: Contest,
    ignored: np.ndarray,
    crowd: np.ndarray,
    objects_at_half: np.ndarray | None = None,
) -> np.ndarray:
    """What each detection with overlaps is matched to, at each IoU threshold.

    Args:
        contest: the overlaps, of H detections.
        ignored: (G,) bool, objects that do not count.
        crowd: (G,) bool, objects that may be matched many times.
        objects_at_half: (H,) int64, gets the object that each detection is matched to
            at IoU 0.5; others stay.

    Returns:
        (10, H) int8: 0 nothing, 1 an object, 2 one that is ignored.
    """
    state = np.zeros((len(IOU_THRESHOLDS), contest.num_hits), np.int8)
    taken = np.zeros((len(IOU_THRESHOLDS), len(ignored)), bool)
    # the first that is free is the one to take: those to be ignored come last
    order = np.argsort(2 * contest.step + ignored[contest.truth], kind='stable')
    of_hit, truth = contest.of_hit[order], contest.truth[order]
    near = contest.near[:, order]
    bounds = np.flatnonzero(np.diff(contest.turns, prepend=-1, append=-1))
    for first, last in pairwise(bounds):
        hit, objects = of_hit[first:last], truth[first:last]
        free = near[:, first:last] & (~taken[:, objects] | crowd[objects])
        starts = np.flatnonzero(np.diff(hit, prepend=-1))
        places = np.where(free, np.arange(last - first), last - first)
        best = np.minimum.reduceat(places, starts, axis=1)  # (10, detections)
        at, which = np.nonzero(best < last - first)
        chosen = objects[best[at, which]]
        taken[at, chosen] = True
        matched = hit[starts[which]]
        state[at, matched] = 1 + ignored[chosen]
        if objects_at_half is not None:
            objects_at_half[matched[at == 0]] = chosen[at == 0]
    return state
