"""Area under the ROC curve, and calibration error."""

from __future__ import annotations

import numpy as np

NUM_BINS = 15


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Chance that a positive scores above a negative, ties counted half.

    Args:
        scores: (n,).
        positive: (n,) bool.

    Returns:
        0 to 1; -1 where one of both has none.

    Reference: Mann and Whitney's U over the number of pairs.
    """
    num_positive = int(positive.sum())
    num_pairs = num_positive * (len(scores) - num_positive)
    if not num_pairs:
        return -1.0
    _, which, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2  # mean rank of equal scores, from 1
    above = ranks[which[positive]].sum() - num_positive * (num_positive + 1) / 2
    return float(above / num_pairs)


def calibration_error(
    scores: np.ndarray, right: np.ndarray, num_bins: int = NUM_BINS
) -> float:
    """Expected calibration error: how far scores are from the share that is right.

    Args:
        scores: (n,) in [0, 1].
        right: (n,) bool.
        num_bins: bins of equal width; b holds [b / n, (b + 1) / n), the last one 1.

    Returns:
        Mean over the boxes of |share right - mean score| of their bin, 0 to 1; -1
        without boxes.

    Reference: Guo et al. (arXiv:1706.04599), equation 3.
    """
    if not len(scores):
        return -1.0
    bins = np.minimum((scores * num_bins).astype(np.int64), num_bins - 1)
    gaps = np.bincount(bins, scores - right, minlength=num_bins)
    return float(np.abs(gaps).sum() / len(scores))
