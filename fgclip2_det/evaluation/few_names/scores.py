"""Figures of asks: AP, precision and recall, false boxes, AUROC, calibration, drift."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fgclip2_det.coco.ground_truths import FREQUENCIES, Truths
from fgclip2_det.coco.results import Results

from ..average_precision import Ranking
from ..coco_ap import PER_IMAGE_AND_CLASS
from ..image_boxes import ImageBoxes
from ..matching import (
    IOU_THRESHOLDS,
    Contest,
    RankedDetections,
    arrange,
    find_overlaps,
    match,
    ranks_within,
)
from .asks import Ask
from .measures import auroc, calibration_error
from .name_pools import counted_objects, is_federated
from .pairs import AskedBoxes, AskedPairs, boxes_of_asks, match_keys, pairs_of

SCORE_THR = 0.3  # that of tools/image_demo.py
CALIBRATED_FROM = 0.05  # lower scores are too many, and nobody looks at them
FIGURES = ('AP', 'AP50', 'precision', 'recall', 'false_per_100', 'auroc', 'ece',
           'drift_mean', 'drift_max')  # fmt: skip


def score_asks(
    truths: Truths,
    asks: Sequence[Ask],
    boxes: Sequence[ImageBoxes],
    score_thr: float = SCORE_THR,
    novel_ids: Collection | None = None,
) -> dict[str, float]:
    """All figures of a detector that was asked.

    Args:
        truths: the ground truth that the asks were drawn from.
        asks: see :func:`.draw_asks`.
        boxes: what was found for each ask, in the same order; labels index the names of
            the ask, boxes are xywh in pixels of the image.
        score_thr: from this score on, a box is shown to a user.
        novel_ids: ids of the novel categories; None: as the categories say
            (:func:`novel_categories`).

    Returns:
        'k{k}/{group}/{figure}' -> value; see :func:`score_pairs`.

    Raises:
        ValueError: see :func:`.pairs_of` and :func:`.boxes_of_asks`; a threshold that
            is no probability.

    Example:
        >>> asks = draw_asks(truths, ks=(2,))
        >>> boxes = [detect(ask.file_name, ask.names) for ask in asks]
        >>> score_asks(truths, asks, boxes)['k2/novel/precision']
    """
    pairs = pairs_of(asks, truths)
    return score_pairs(truths, pairs, boxes_of_asks(asks, boxes), score_thr, novel_ids)


def score_pairs(
    truths: Truths,
    pairs: AskedPairs,
    boxes: AskedBoxes,
    score_thr: float = SCORE_THR,
    novel_ids: Collection | None = None,
) -> dict[str, float]:
    """All figures, of all names, and of base and novel ones where there are any.

    For each k, -1 where there is nothing to average:

    - AP, AP50: one ranking of the boxes of all pairs, those of absent names included,
      over IoU 0.50:0.95 and at 0.50; at most 100 boxes of a pair;
    - precision, recall: at IoU 0.5, of boxes that score ``score_thr`` or more;
    - false_per_100: such boxes of absent names, per 100 pairs of image and absent name;
    - auroc: of present against absent pairs by their best score, 0 without a box;
    - ece: of boxes that score 0.05 or more, against being right at IoU 0.5;
    - drift_mean, drift_max: by how much the score of an object's box differs from that
      at the smallest k that asks for its name; an object that is found at one k alone
      has score 0 at the other, and one that is found at neither does not count.

    Crowds, and in LVIS ignored objects and names that are not labelled in full, count
    as in pycocotools and lvis-api: boxes on them are neither right nor wrong.

    Args:
        truths, score_thr, novel_ids: see :func:`score_asks`.
        pairs, boxes: columns of the asks and of what was found.
    """
    if not 0 <= score_thr <= 1:
        raise ValueError(f'score_thr must lie in [0, 1], got {score_thr}')
    if novel_ids is None:
        novel_ids = novel_categories(truths)
    matched = match_pairs(truths, pairs, boxes)
    metrics = {}
    for group, of_group in _groups(truths, pairs, novel_ids).items():
        ap = matched.average_precision(of_group)  # (ks, 10)
        for n, k in enumerate(pairs.ks):
            chosen = of_group & (pairs.k == n)
            values = [_mean(ap[n]), _mean(ap[n, :1])]
            values += matched.at_threshold(chosen, score_thr)
            values += [matched.auroc(chosen), matched.calibration_error(chosen)]
            values += matched.drift(n, of_group)
            named = dict(zip(FIGURES, values, strict=True))
            metrics |= {f'k{k}/{group}/{name}': v for name, v in named.items()}
    return metrics


def novel_categories(truths: Truths) -> set:
    """Ids of the categories whose ``split`` is 'novel', or that are rare in LVIS."""
    if all('split' in c for c in truths.categories):
        return {c['id'] for c in truths.categories if c['split'] == 'novel'}
    if all(c.get('frequency') in FREQUENCIES for c in truths.categories):
        return {c['id'] for c in truths.categories if c['frequency'] == 'r'}
    return set()


@dataclass(frozen=True)
class MatchedPairs:
    """Boxes with what they were matched to; figures of them are of a (P,) bool mask.

    Attributes:
        pairs: the P pairs.
        detections: N boxes, whose keys are their pairs.
        hits: (H,) those that overlap an object.
        state: (10, H) as of :func:`.match`.
        excused: (N,) bool, boxes that are not wrong where they match nothing.
        right, counted: (N,) bool at IoU 0.5: right; right or wrong.
        object_pair, object_row: (G,) pair of each object that counts, and its row in
            the ground truth; rows recur with every ask.
        object_score: (G,) of its box at IoU 0.5, NaN without one.
    """

    pairs: AskedPairs
    detections: RankedDetections
    hits: np.ndarray
    state: np.ndarray
    excused: np.ndarray
    right: np.ndarray
    counted: np.ndarray
    object_pair: np.ndarray
    object_row: np.ndarray
    object_score: np.ndarray

    def average_precision(self, of_group: np.ndarray) -> np.ndarray:
        """(ks, 10) of the pairs of a (P,) mask; NaN without objects."""
        k = np.where(of_group, self.pairs.k, -1)
        num_ks, own = len(self.pairs.ks), self.detections.keys
        ranking = Ranking(k[own], self.detections.scores, self.hits, num_ks)
        objects = k[self.object_pair]
        counts = np.bincount(objects[objects >= 0], minlength=num_ks)
        precision = np.full((num_ks, len(IOU_THRESHOLDS)), np.nan)
        recall = np.empty_like(precision)
        ranking.fill(precision, recall, self.state, self.excused, counts)
        return precision

    def at_threshold(self, chosen: np.ndarray, score_thr: float) -> list[float]:
        """Precision, recall, and boxes per 100 pairs of absent names."""
        shown = chosen[self.detections.keys] & (self.detections.scores >= score_thr)
        right = int((shown & self.right).sum())
        absent = chosen & self.pairs.absent
        false = int((shown & absent[self.detections.keys]).sum())
        return [
            _share(right, int((shown & self.counted).sum())),
            _share(right, int(chosen[self.object_pair].sum())),
            _share(100 * false, int(absent.sum())),
        ]

    def best_threshold(
        self, chosen: np.ndarray, precision: float | None = None
    ) -> tuple[float, float, float]:
        """Where F1 is highest, or the most is recalled at a precision.

        Args:
            chosen: (P,) bool, pairs that count.
            precision: at least this much; None: the highest F1.

        Returns:
            Score, precision and recall; of equally good scores the highest. 0, -1 and
            0 where nothing is right, or no score has the precision.
        """
        rows = np.flatnonzero(chosen[self.detections.keys] & self.counted)
        rows = rows[np.argsort(-self.detections.scores[rows], kind='stable')]
        scores, right = self.detections.scores[rows], self.right[rows].cumsum()
        if not len(rows) or not right[-1]:
            return 0.0, -1.0, 0.0
        shown = np.arange(1, len(rows) + 1)
        objects = int(chosen[self.object_pair].sum())
        last = np.append(scores[1:] != scores[:-1], True)  # all of one score are shown
        if precision is None:
            worth = np.where(last, 2 * right / (shown + objects), -1)
        else:
            worth = np.where(last & (right >= precision * shown), right, -1)
        best = int(worth.argmax())
        if worth[best] < 0:
            return 0.0, -1.0, 0.0
        precisions, recalls = right / shown, right / objects
        return float(scores[best]), float(precisions[best]), float(recalls[best])

    def auroc(self, chosen: np.ndarray) -> float:
        best = np.zeros(len(self.pairs))
        np.maximum.at(best, self.detections.keys, self.detections.scores)
        known = chosen & (self.pairs.present | self.pairs.absent)
        return auroc(best[known], self.pairs.present[known])

    def calibration_error(self, chosen: np.ndarray) -> float:
        boxes = chosen[self.detections.keys] & self.counted
        boxes &= self.detections.scores >= CALIBRATED_FROM
        return calibration_error(self.detections.scores[boxes], self.right[boxes])

    def drift(self, n: int, of_group: np.ndarray) -> list[float]:
        """Mean and greatest change of the scores at the n-th k."""
        k = self.pairs.k[self.object_pair]
        order = np.lexsort((k, self.object_row))
        starts = np.flatnonzero(np.diff(self.object_row[order], prepend=-1))
        first = np.empty(len(order), np.int64)  # the same object at the smallest k
        first[order] = np.repeat(order[starts], np.diff(np.append(starts, len(order))))
        score = np.nan_to_num(self.object_score)
        seen = ~np.isnan(self.object_score)
        chosen = of_group[self.object_pair] & (k == n) & (k[first] < n)
        chosen &= seen | seen[first]
        change = np.abs(score - score[first])[chosen]
        return (
            [float(change.mean()), float(change.max())] if len(change) else [-1.0] * 2
        )


def match_pairs(truths: Truths, pairs: AskedPairs, boxes: AskedBoxes) -> MatchedPairs:
    """Match boxes with the objects of their pairs.

    As in pycocotools, a pair being an image, or as in lvis-api.

    Args:
        truths: see :func:`score_asks`.
        pairs, boxes: see :func:`score_pairs`.
    """
    federated = is_federated(truths.images)
    if federated:
        truths = truths.select(truths.areas > 0)
        boxes = _select(boxes, np.asarray((boxes.bboxes[:, 2:] > 0).all(1)))
    counts = counted_objects(truths)
    pair, row = match_keys(pairs.keys, truths.keys(truths.image, truths.category))
    results = Results(boxes.pair, np.zeros_like(boxes.pair), boxes.bboxes, boxes.scores)
    asked = replace(
        truths.select(row),
        images=[{}] * len(pairs),  # a pair takes the place of an image
        image=pair,
        category=np.zeros_like(pair),
    )
    crowd = np.zeros(len(row), bool) if federated else asked.crowd
    ignored = ~counts[row]
    detections = arrange(results, np.arange(len(results)), asked)
    if (detections.ranks >= PER_IMAGE_AND_CLASS).any():
        kept = np.sort(detections.rows[detections.ranks < PER_IMAGE_AND_CLASS])
        detections = arrange(results, kept, asked)
    overlaps = find_overlaps(detections, results, asked, crowd)
    hits = np.unique(overlaps.detection)
    turns = ranks_within(detections.keys[hits])
    turns = turns[np.searchsorted(hits, overlaps.detection)]
    objects = np.full(len(hits), -1)
    state = match(Contest.of(overlaps, turns), ignored, crowd, objects)
    excused = np.isin(pairs.keys, truths.not_exhaustive)[detections.keys]
    at_half = np.zeros(len(detections.keys), np.int8)
    at_half[hits] = state[0]
    scores = np.full(len(row), np.nan)
    true = state[0] == 1
    scores[objects[true]] = detections.scores[hits[true]]
    return MatchedPairs(
        pairs,
        detections,
        hits,
        state,
        excused,
        right=at_half == 1,
        counted=(at_half == 1) | ((at_half == 0) & ~excused),
        object_pair=pair[~ignored],
        object_row=row[~ignored],
        object_score=scores[~ignored],
    )


def _groups(
    truths: Truths, pairs: AskedPairs, novel_ids: Collection
) -> dict[str, np.ndarray]:
    """(P,) masks by name of group."""
    groups = {'all': np.ones(len(pairs), bool)}
    if novel_ids:
        novel = np.zeros(len(truths.categories), bool)
        novel[[truths.category_index[i] for i in novel_ids]] = True
        groups |= {'base': ~novel[pairs.category], 'novel': novel[pairs.category]}
    return groups


def _select(boxes: AskedBoxes, rows: np.ndarray) -> AskedBoxes:
    return AskedBoxes(boxes.pair[rows], boxes.bboxes[rows], boxes.scores[rows])


def _mean(values: np.ndarray) -> float:
    return -1.0 if np.isnan(values).any() else float(values.mean())


def _share(part: int, whole: int) -> float:
    return part / whole if whole else -1.0
