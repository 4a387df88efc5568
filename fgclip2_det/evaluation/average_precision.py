"""Average precision and recall per class, area range and IoU threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fgclip2_det.coco.ground_truths import Truths
from fgclip2_det.coco.results import Results

from .matching import (
    IOU_THRESHOLDS,
    RankedDetections,
    find_overlaps,
    match,
    ranks_within,
)

RECALLS = np.linspace(0, 1, 101)
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
        state = match(overlaps, turns, outside, crowd)
        ignored = dt_ignored | (detections.areas < low) | (detections.areas > high)
        counts = np.bincount(truths.category[~outside], minlength=shape[1])
        ranking.fill(precision[a], recall[a], state, ignored, counts)
        if name == 'all':
            for limit, values in limited.items():
                few = np.where(detections.ranks[hits] < limit, state, 0)
                ranking.fill(np.empty(shape[1:]), values, few, ignored, counts)
    return ClassFigures(precision, recall, limited)


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
        self.by_place = np.argsort(place[hits])
        self.places = place[hits][self.by_place]
        self.hit_bounds = np.searchsorted(
            category[hits][self.by_place], np.arange(classes + 1)
        )

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
        for k in np.flatnonzero(counts):
            bounds = slice(*self.hit_bounds[k : k + 2])
            places = self.places[bounds]
            # unmatched at a place = all that count so far, less the matched ones
            unmatched = counted_before[places + 1] - counted_before[self.starts[k]]
            for t, row in enumerate(state[:, bounds]):
                matched = row > 0
                excused = np.cumsum(counted[places[matched]])
                right = row[matched] == 1
                false = (unmatched[matched] - excused)[right]
                precision[k, t], recall[k, t] = _average(false, int(counts[k]))


def _average(false: np.ndarray, count: int) -> tuple[float, float]:
    """Of (R,) numbers of wrong detections before each right one, best first."""
    true = np.arange(1, len(false) + 1)
    precision = true / (false + true + np.spacing(1))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(true / count, RECALLS, 'left')
    reached = envelope[at[at < len(envelope)]]
    return reached.sum() / len(RECALLS), len(true) / count
