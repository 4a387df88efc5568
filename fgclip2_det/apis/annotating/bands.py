"""Bands of scores: accepted, to be reviewed, rejected."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fgclip2_det.vocabulary.ontology import Ontology

ACCEPT, REVIEW = 'accept', 'review'
Z = 1.959964  # standard normal quantile of a two-sided 95 % interval


@dataclass(frozen=True)
class Band:
    """Thresholds of a class, and where that of the accept band comes from.

    Attributes:
        accept: lowest score that is accepted; None accepts nothing.
        review: lowest score that a person is to look at.
        source: 'option', 'ontology', 'labelled' (boxes of the class) or 'labelled,
            all classes'.
        num_boxes: boxes at or above ``accept`` in the labelled part.
        precision, low, high: of them, with Wilson's 95 % interval; None without.
    """

    accept: float | None
    review: float
    source: str = 'option'
    num_boxes: int = 0
    precision: float | None = None
    low: float | None = None
    high: float | None = None

    def of(self, score: float) -> str | None:
        """'accept', 'review' or None."""
        if self.accept is not None and score >= self.accept:
            return ACCEPT
        return REVIEW if score >= self.review else None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def wilson(right: int, count: int, z: float = Z) -> tuple[float, float]:
    """Wilson's score interval of a share.

    Args:
        right: successes.
        count: trials; 0 of them say nothing: (0, 1).
        z: standard normal quantile; that of 95 % by default.

    Raises:
        ValueError: more successes than trials, or fewer than none.

    Reference: E. B. Wilson, Probable inference, the law of succession, and statistical
    inference, JASA 22 (1927); Brown, Cai, DasGupta (2001), equation 4.
    """
    if not 0 <= right <= count:
        raise ValueError(f'expected 0 to {count} successes, got {right}')
    if not count:
        return 0.0, 1.0
    share, square = right / count, z * z
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = z * math.sqrt(
        share * (1 - share) / count + square / (4 * count * count)
    ) / (1 + square / count)  # fmt: skip
    return max(0.0, middle - half), min(1.0, middle + half)


def bands_of(
    ontology: Ontology, accept: float, review: float, measured: Sequence[Band | None]
) -> list[Band]:
    """A band per class: the ontology's own thresholds, else measured ones, else those
    given.

    Args:
        ontology: of C classes.
        accept, review: thresholds of classes that have no other.
        measured: C bands of :func:`measured_bands`, or None.
    """
    bands = []
    for each, band in zip(ontology.classes, measured, strict=True):
        if each.threshold is not None:
            band = Band(each.threshold, review, 'ontology')
        elif band is None:
            band = Band(accept, review)
        lowest = review if each.review is None else each.review
        top = 1.0 if band.accept is None else band.accept
        bands.append(Band(**{**band.to_dict(), 'review': min(lowest, top)}))
    return bands


def measured_bands(
    answers: Sequence[tuple[np.ndarray, np.ndarray] | None],
    precision: float,
    review: float,
    min_boxes: int,
) -> list[Band]:
    """The lowest threshold of each class that has the precision asked for.

    A class with fewer than ``min_boxes`` boxes in the labelled part, or none of whose
    objects are labelled there, gets the threshold of all labelled classes together.

    Args:
        answers: of C classes: (n,) scores and (n,) bool, whether the box is right;
            None for a class that the labelled part does not have.
        precision: share of right boxes among those at or above the threshold.
        review: lowest score of the review band.
        min_boxes: boxes that a threshold of its own takes.

    Returns:
        C bands; nothing is accepted where no threshold has the precision.
    """
    known = [each for each in answers if each is not None]
    none = np.zeros(0), np.zeros(0, bool)
    scores, right = (
        np.concatenate(parts) for parts in zip(*(known or [none]), strict=True)
    )
    pooled = _lowest(scores, right, precision, review, 'labelled, all classes')
    return [
        pooled
        if each is None or len(each[0]) < min_boxes
        else _lowest(*each, precision, review, 'labelled')
        for each in answers
    ]


def _lowest(
    scores: np.ndarray, right: np.ndarray, precision: float, review: float, source: str
) -> Band:
    """The band of the lowest threshold above which the share of right boxes suffices;
    boxes of one score are accepted together."""
    order = np.argsort(-scores, kind='stable')
    scores, right = scores[order], right[order]
    counts = np.arange(1, len(scores) + 1)
    ends = np.append(scores[1:] != scores[:-1], True)[: len(scores)]
    good = np.flatnonzero((np.cumsum(right) / counts >= precision) & ends)
    if not len(good):
        return Band(None, review, source)
    last = int(good[-1])
    count, correct = last + 1, int(right[: last + 1].sum())
    low, high = wilson(correct, count)
    return Band(float(scores[last]), review, source, count, correct / count, low, high)
