"""Average precision and recall per class, area range and IoU threshold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fgclip2_det.coco.ground_truths import Truths
from fgclip2_det.coco.results import Results

from .matching import (
    IOU_THRESHOLDS,
    Contest,
    RankedDetections,
    find_overlaps,
    match,
    ranks_within,
)

RECALLS = np.linspace(0, 1, 101)
ROWS = 1 << 18  # detections at a time, or those of one class, to bound memory
AREA_RANGES = {  # pixels, both ends belong to it
    'all': (0.0, 1e10),
    'small': (0.0, 1024.0),
    'medium': (1024.0, 9216.0),
    'large': (9216.0, 1e10),
}


@dataclass(frozen=True)
class ClassFigures:
    """Figures of K classes; NaN where a class has no object.

    Attributes:
        precision: (A, K, 10) mean of the interpolated precision at 101 recalls.
        recall: (A, K, 10) the highest recall.
        limited_recall: limit -> (K, 10) recall of all sizes when so many detections
            count per class and image.
    """

    precision: np.ndarray
    recall: np.ndarray
    limited_recall: dict[int, np.ndarray]


def class_figures(
    truths: Truths,
    results: Results,
    detections: RankedDetections,
    crowd: np.ndarray,
    gt_ignored: np.ndarray,
    dt_ignored: np.ndarray,
    areas: Sequence[str] = tuple(AREA_RANGES),
    limits: Sequence[int] = (),
) -> ClassFigures:
    """Match detections with objects, and average precision over recalls.

    Args:
        truths: the ground truth: G objects of K classes.
        results: where the boxes and masks of ``detections`` are.
        detections: the N that count.
        crowd: (G,) bool, objects that any number of detections may match.
        gt_ignored: (G,) bool, objects that do not count in any area range.
        dt_ignored: (N,) bool, detections that do not count when they match nothing.
        areas: of :data:`AREA_RANGES`, A of them; objects and unmatched detections
            of other sizes do not count.
        limits: numbers of detections for ``limited_recall``.

    Reference: pycocotools' COCOeval, lvis-api's LVISEval.
    """
    overlaps = find_overlaps(detections, results, truths, crowd)
    hits = np.unique(overlaps.detection)
    # place of each detection among those of its pair that overlap anything
    turn_of_hit = ranks_within(detections.keys[hits])
    turns = turn_of_hit[np.searchsorted(hits, overlaps.detection)]
    contest = Contest.of(overlaps, turns)
    ranking = Ranking(
        detections.keys // max(len(truths.images), 1),
        detections.scores,
        hits,
        len(truths.categories),
    )
    shape = len(areas), len(truths.categories), len(IOU_THRESHOLDS)
    precision, recall = np.full(shape, np.nan), np.full(shape, np.nan)
    limited = {limit: np.full(shape[1:], np.nan) for limit in limits}
    for a, name in enumerate(areas):
        low, high = AREA_RANGES[name]
        outside = gt_ignored | (truths.areas < low) | (truths.areas > high)
        state = match(contest, outside, crowd)
        ignored = dt_ignored | (detections.areas < low) | (detections.areas > high)
        counts = np.bincount(truths.category[~outside], minlength=shape[1])
        ranking.fill(precision[a], recall[a], state, ignored, counts)
        if name == 'all':
            for limit, values in limited.items():
                few = np.where(detections.ranks[hits] < limit, state, 0)
                ranking.fill(np.empty(shape[1:]), values, few, ignored, counts)
    return ClassFigures(precision, recall, limited)


Compute = Callable[[Truths, np.ndarray], ClassFigures]


def in_class_blocks(
    compute: Compute, truths: Truths, category: np.ndarray, rows: np.ndarray
) -> ClassFigures:
    """Figures of all classes, made of some classes at a time.

    Args:
        compute: from the ground truth of some classes, under their own indices, and
            the rows of their detections, rising, to figures of all classes.
        truths: the ground truth.
        category: (N,) class of each detection, 0 to K - 1.
        rows: detections that count, rising.
    """
    figures: ClassFigures | None = None
    for first, stop, own in _blocks(category, rows, len(truths.categories)):
        inside = (truths.category >= first) & (truths.category < stop)
        block = compute(truths.select(inside), own)
        if figures is None:
            figures = block
            continue
        classes = slice(first, stop)
        figures.precision[:, classes] = block.precision[:, classes]
        figures.recall[:, classes] = block.recall[:, classes]
        for limit, recall in block.limited_recall.items():
            figures.limited_recall[limit][classes] = recall[classes]
    return compute(truths, rows) if figures is None else figures


def _blocks(
    category: np.ndarray, rows: np.ndarray, classes: int
) -> Iterator[tuple[int, int, np.ndarray]]:
    """(first class, class after the last, rows)."""
    ends = np.cumsum(np.bincount(category[rows], minlength=classes))
    if classes == 0 or ends[-1] <= ROWS:
        yield 0, classes, rows
        return
    order = rows[np.argsort(category[rows], kind='stable')]
    first = before = 0
    while first < classes:
        stop = int(np.searchsorted(ends, before + ROWS, 'right'))
        stop = min(max(stop, first + 1), classes)
        yield first, stop, np.sort(order[before : ends[stop - 1]])
        first, before = stop, int(ends[stop - 1])


def mean(values: np.ndarray) -> float:
    """Mean of the values that are not NaN; -1 if all are NaN."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else -1.0


class Ranking:
    """Detections of each class, best first: ties by image, then as in the file.

    Args:
        category: (N,) class of each detection, 0 to ``classes`` - 1; those of class -1
            do not count.
        scores: (N,).
        hits: (H,) rising indices of the detections that overlap an object.
        classes: K.
    """

    def __init__(
        self, category: np.ndarray, scores: np.ndarray, hits: np.ndarray, classes: int
    ) -> None:
        self.order = np.lexsort((-scores, category))
        self.starts = np.searchsorted(category[self.order], np.arange(classes))
        place = np.empty(len(self.order), np.int64)
        place[self.order] = np.arange(len(self.order))
        by_place = np.argsort(place[hits])
        self.by_place = by_place[category[hits][by_place] >= 0]
        self.places = place[hits][self.by_place]
        self.classes = category[hits][self.by_place]
        self.hit_bounds = np.searchsorted(self.classes, np.arange(classes + 1))
        # place of the first detection of each hit's class
        self.first_places = self.starts[self.classes]

    def fill(
        self,
        precision: np.ndarray,
        recall: np.ndarray,
        state: np.ndarray,
        ignored: np.ndarray,
        counts: np.ndarray,
    ) -> None:
        """Write the (K, 10) figures of classes with objects.

        Args:
            precision, recall: written in place.
            state: (10, H) as of :func:`.matching.match`.
            ignored: (N,) bool, detections that do not count when they match nothing.
            counts: (K,) objects.
        """
        counted = ~ignored[self.order]
        counted_before = np.concatenate([[0], np.cumsum(counted)])
        state = state[:, self.by_place]
        # unmatched at a place = all that count so far, less the matched ones
        unmatched = counted_before[self.places + 1] - counted_before[self.first_places]
        needed = _needed(counts)
        known = np.flatnonzero(counts)
        for t, matched_to in enumerate(state):
            excused = self._within_class((matched_to > 0) & counted[self.places])
            right = matched_to == 1
            true = self._within_class(right)[right]
            false = (unmatched - excused)[right]
            numbers = np.bincount(self.classes[right], minlength=len(counts))
            found = true / (false + true + np.spacing(1))
            precision[known, t] = _interpolated(found, numbers, needed)[known]
            recall[known, t] = numbers[known] / counts[known]

    def _within_class(self, marks: np.ndarray) -> np.ndarray:
        """(H,) number of marks of the same class so far, its own included."""
        sums = np.concatenate([[0], np.cumsum(marks)])
        return sums[1:] - sums[self.hit_bounds[self.classes]]


def _interpolated(
    precision: np.ndarray, numbers: np.ndarray, needed: np.ndarray
) -> np.ndarray:
    """(K,) mean over recalls of the highest precision at this recall or a higher one.

    Args:
        precision: (R,) of the right detections, class after class, best first.
        numbers: (K,) right detections of each class.
        needed: (K, 101) right detections that each recall needs, less one, rising;
            the first is 0.
    """
    reached = needed < numbers[:, None]
    first = np.cumsum(numbers) - numbers
    values = np.zeros(needed.shape)
    if len(precision):
        # highest from each recall's detection to that of the next recall or class
        starts = (first[:, None] + needed)[reached]
        values[reached] = np.maximum.reduceat(precision, starts)
    values[:, ::-1] = np.maximum.accumulate(values[:, ::-1], axis=1)
    return values.sum(1) / len(RECALLS)


def _needed(counts: np.ndarray) -> np.ndarray:
    """(K, 101) right detections that each recall needs, less one, of K classes with so
    many objects."""
    different, place = np.unique(counts, return_inverse=True)
    rows = [
        np.searchsorted(np.arange(1, count + 1) / max(count, 1), RECALLS, 'left')
        for count in different.tolist()
    ]
    return np.array(rows, np.int64).reshape(-1, len(RECALLS))[place]
