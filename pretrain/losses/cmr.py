"""L_CMR: rank loss with an adaptive margin between true text and hard negatives."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .gather import global_sum, rank_share, row_layout
from .precision import full_precision, without_autocast


@without_autocast
def cmr_loss(
    positive: Tensor, negative: Tensor, valid: Tensor, threshold: Tensor | float
) -> Tensor:
    """Cross-modal rank loss with a global threshold.

    L = mean over valid (h, k) of max(0, n_hk - p_h + tau_k)

    Args:
        positive: (H,) similarity of a region and its text: a cosine (the paper) or a
            cosine times exp(logit_scale) (the released code).
        negative: (H, M) of the same kind, with the hard negatives.
        valid: (H, M) bool, False where there is no negative.
        threshold: tau in the same unit: one number (), or (M',), one for each place
            among the negatives, and 0 for places after the last. It gets no gradient.

    Returns:
        Scalar, float32: this rank's share (see :mod:`.gather`); 0 without rows.

    Raises:
        ValueError: if shapes do not fit.

    Reference: FG-CLIP 2 (arXiv:2510.10921), equation 2.
    """
    _check(positive, negative, valid)
    positive, negative = full_precision(positive, negative)
    margin = torch.as_tensor(threshold, dtype=negative.dtype, device=negative.device)
    margin = _places(margin.detach(), negative.shape[1])[: negative.shape[1]]
    hinge = F.relu(negative - positive[:, None] + margin)
    return rank_share(hinge.masked_fill(~valid, 0).sum(), valid.sum())


@without_autocast
@torch.no_grad()
def next_threshold(
    positive: Tensor,
    negative: Tensor,
    valid: Tensor,
    *,
    per_negative: bool,
    clamp: tuple[float, float] | None = None,
    previous: Tensor | float = 0.0,
) -> Tensor:
    """The threshold of the next step: the present gap, over the samples of all ranks.

    ``per_negative`` (the paper): tau_k = mean over valid h of (p_h - n_hk).
    Otherwise (the released code, but every sample weighs the same on every rank):
    tau = mean of p_h over rows with a negative - mean of n_hk over valid (h, k).

    Args:
        positive, negative, valid: as in :func:`cmr_loss`.
        per_negative: one threshold for each place among the negatives.
        clamp: lowest and highest value; None for no limits.
        previous: value where no rank has a sample: one number (), or (M',) for
            ``per_negative``; places after the last begin at 0.

    Returns:
        float32, the same on every rank: a scalar, or for ``per_negative`` (M'), one
        for each place that this step, on any rank, or ``previous`` has; ``previous``
        itself while there are none.

    Raises:
        ValueError: if shapes do not fit.

    Reference: FG-CLIP 2 (arXiv:2510.10921), equation 3.
    """
    _check(positive, negative, valid)
    positive, negative = full_precision(positive.detach(), negative.detach())
    old = torch.as_tensor(previous, dtype=negative.dtype, device=negative.device)
    weight = valid.to(negative.dtype)
    if per_negative:
        places = max(row_layout(negative.shape[1], negative.device).counts)
        if places == 0:
            return old
        old = _places(old, places)
        gaps = ((positive[:, None] - negative) * weight).sum(0)
        sums = negative.new_zeros(2, len(old))
        sums[0, : len(gaps)], sums[1, : len(gaps)] = gaps, weight.sum(0)
        gap, count = global_sum(sums)
        new = gap / count.clamp(min=1)
    else:
        if old.ndim:
            raise ValueError(
                'previous must be one number, of shape (), without per_negative, got '
                f'{tuple(old.shape)}'
            )
        rows = valid.any(1).to(positive.dtype)
        parts = [positive @ rows, rows.sum(), (negative * weight).sum(), weight.sum()]
        p, num_rows, n, count = global_sum(torch.stack(parts))
        new = p / num_rows.clamp(min=1) - n / count.clamp(min=1)
    if clamp is not None:
        new = new.clamp(*clamp)
    return torch.where(count > 0, new, old)


def _places(threshold: Tensor, num_places: int) -> Tensor:
    """One number for every place; or (M',) with 0 added for places that it lacks."""
    if threshold.ndim == 0:
        return threshold.expand(num_places)
    if threshold.ndim > 1:
        raise ValueError(
            "a threshold must be one number () or (M',), one for each place among the "
            f'negatives, got {tuple(threshold.shape)}'
        )
    return F.pad(threshold, (0, max(num_places - len(threshold), 0)))


def _check(positive: Tensor, negative: Tensor, valid: Tensor) -> None:
    num_rows = len(positive)
    if positive.ndim != 1 or negative.ndim != 2 or len(negative) != num_rows:
        raise ValueError(
            'positive must be (H,) and negative (H, M), got '
            f'{tuple(positive.shape)} and {tuple(negative.shape)}'
        )
    if valid.shape != negative.shape or valid.dtype != torch.bool:
        raise ValueError(
            f'valid must be bool and {tuple(negative.shape)}, got {valid.dtype} '
            f'{tuple(valid.shape)}'
        )
