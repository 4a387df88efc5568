"""LVIS average precision: federated ground truth, two limits on detections."""

from __future__ import annotations

import numpy as np

from fgclip2_det.coco.ground_truths import FREQUENCIES, Truths
from fgclip2_det.coco.results import Results

from .average_precision import ClassFigures, class_figures, in_class_blocks, mean
from .matching import arrange, best_per_key

PER_IMAGE = 300
PER_CLASS = 10_000
FLAVOURS = ('lvis', 'lvis-fixed')


def within_limit(
    results: Results, flavour: str, limit: int | None = None
) -> np.ndarray:
    """(N,) bool: detections that a flavour counts.

    Args:
        results: N detections.
        flavour: 'lvis': the best 300 of an image; 'lvis-fixed': the best 10,000 of a
            class, however many of one image.
        limit: another number.

    Raises:
        ValueError: on an unknown flavour or a limit below 1.
    """
    if flavour not in FLAVOURS:
        raise ValueError(f'flavour must be one of {FLAVOURS}, got {flavour!r}')
    fixed = flavour == 'lvis-fixed'
    limit = (PER_CLASS if fixed else PER_IMAGE) if limit is None else limit
    if limit < 1:
        raise ValueError(f'the limit of {flavour} must be at least 1, got {limit}')
    keys = results.category if fixed else results.image
    return best_per_key(keys, results.scores, limit)


def lvis_figures(
    truths: Truths, results: Results, flavour: str = 'lvis', limit: int | None = None
) -> ClassFigures:
    """Figures of each class, as lvis-api computes them.

    Only images that have a class, or are known not to have it, count for it. Where
    its objects are not all labelled, unmatched detections do not count. Boxes
    and objects without area are left out, as lvis-api leaves them out; the limit on
    detections comes before all this.

    Args:
        truths: read with ``federated``.
        results: masks decide where they have some, else boxes.
        flavour, limit: see :func:`within_limit`.

    Reference: Gupta et al. (arXiv:1908.03195); for 'lvis-fixed' Dave et al.
    (arXiv:2102.01066), section 4.
    """
    counted = within_limit(results, flavour, limit)
    if results.areas is None:
        counted &= (results.bboxes[:, 2] * results.bboxes[:, 3]) > 0
    else:
        counted &= results.areas > 0
    truths = truths.select(truths.areas > 0)

    def figures(truths: Truths, rows: np.ndarray) -> ClassFigures:
        return _figures(truths, results, rows)

    rows = np.flatnonzero(counted)
    return in_class_blocks(figures, truths, results.category, rows)


def _figures(truths: Truths, results: Results, rows: np.ndarray) -> ClassFigures:
    """Figures of the classes that occur in the ground truth."""
    keys = truths.keys(results.image[rows], results.category[rows])
    truth_keys = truths.keys(truths.image, truths.category)
    known = np.isin(keys, np.union1d(truths.negative, truth_keys))
    detections = arrange(results, rows[known], truths)
    return class_figures(
        truths,
        results,
        detections,
        crowd=np.zeros(len(truths.areas), bool),  # LVIS knows none
        gt_ignored=truths.ignored,
        dt_ignored=np.isin(detections.keys, truths.not_exhaustive),
    )


def lvis_summary(figures: ClassFigures, truths: Truths) -> dict[str, float]:
    """AP, AP50, AP75, by size (s, m, l) and by frequency (r, c, f), and recall;
    0 to 1, -1 where no class has an object."""
    ap, small, medium, large = figures.precision
    frequency = np.array([c['frequency'] for c in truths.categories])
    values = {'AP': ap, 'AP50': ap[:, 0], 'AP75': ap[:, 5]}
    values |= {'APs': small, 'APm': medium, 'APl': large}
    values |= {f'AP{f}': ap[frequency == f] for f in FREQUENCIES}
    names = ('AR', 'ARs', 'ARm', 'ARl')
    values |= dict(zip(names, figures.recall, strict=True))
    return {name: mean(value) for name, value in values.items()}
