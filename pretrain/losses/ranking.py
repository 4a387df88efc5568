"""Fine-grained ranking: the matching loss of joint encoders, and its negatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fgclip2_det.ranker import MatchLogits

from .gather import all_gather_rows, rank_share, row_layout
from .pairs import match_matrix
from .precision import full_precision, without_autocast

AMONG = ('all', 'process')


def matching_loss(
    logits: MatchLogits,
    targets: Tensor,
    class_weights: Sequence[float] = (1.0, 2.0),
    double_softmax: bool = False,
    valid: Tensor | None = None,
) -> Tensor:
    """Weighted cross entropy of "do they match", for each joint encoder.

    With logits z^m_i of joint encoder m in M for pair i, y_i in {0, 1} its target, w
    the class weights, and sums over the pairs of all ranks:

    L = (1/|M|) sum_m [ sum_i w_{y_i} (-log softmax(z^m_i)_{y_i}) / sum_i w_{y_i} ]

    With ``double_softmax``, p_i = (1/|M|) sum_m softmax(z^m_i) the mean probabilities:

    L = sum_i w_{y_i} (-log softmax(p_i)_{y_i}) / sum_i w_{y_i}

    which lies between log(1 + e^-1) = 0.3133 and log(1 + e) = 1.3133.

    Args:
        logits: parts (K, k, 2), the last axis (no, yes). K or k may be 0.
        targets: (K, k) bool, True for a match.
        class_weights: of no match and of a match.
        double_softmax: cross entropy of probabilities, which softmaxes them again, as
            the released fine-tuning of matching does (there without weights).
        valid: (K, k) bool, False for pairs that do not count; None: all count.

    Returns:
        Scalar, float32: this rank's share (see :mod:`.gather`); 0 without pairs.

    Raises:
        ValueError: if shapes do not fit or weights are negative or both 0.

    Reference: R2D2 (arXiv:2205.03860), section 4.1, fine-grained ranking; weights
    [1, 2] and the double softmax are its released code's.
    """
    parts = [part for part in logits if part is not None]
    _check_matching(parts, targets, class_weights, valid)
    with torch.autocast(targets.device.type, enabled=False):
        wide = torch.stack(full_precision(*parts)).flatten(1, 2)  # (M, K * k, 2)
        if double_softmax:
            wide = wide.softmax(-1).mean(0, keepdim=True)
        losses = -wide.log_softmax(-1)
        labels = targets.flatten().long()
        losses = losses.mean(0).gather(1, labels[:, None])[:, 0]
        weights = _pair_weights(labels, class_weights, losses.dtype)
        if valid is not None:
            weights = weights * valid.flatten()
        return rank_share((losses * weights).sum(), weights.sum())


class Negatives(NamedTuple):
    """Rows of the pairs of all ranks that do not belong to this rank's pairs.

    Attributes:
        image: (B,) int64, an image for each of this rank's texts; -1: there is none.
        text: (B,) int64, a text for each of this rank's images; -1: there is none.
    """

    image: Tensor
    text: Tensor


@without_autocast
@torch.no_grad()
def draw_negatives(
    image_embeds: Tensor,
    text_embeds: Tensor,
    temperature: Tensor | float,
    image_keys: Tensor,
    text_keys: Tensor | None = None,
    *,
    seed: int,
    among: str = 'all',
) -> Negatives:
    """One hard image and one hard text for each pair (I_i, T_i).

    A text is drawn for image i with P(j) = exp(cos(I_i, T_j) / t) / sum over the j that
    do not match i, and 0 for those that match; an image for text i likewise. Pairs
    match if their images, or their texts, have the same key.

    A pair that matches every candidate (a batch of one, say) has no negative: -1, and
    :func:`matching_loss` leaves it out by ``valid``.

    The draw takes one number per pair of all ranks from a generator of ``seed``, the
    same on every rank, and inverts the cumulative sum of P there. With ``among='all'``
    it does not depend on how the pairs are split over ranks.

    Args:
        image_embeds: (B, D), L2-normalised. B may be 0, also on one rank alone.
        text_embeds: (B, D), L2-normalised, row by row the caption of an image.
        temperature: t > 0.
        image_keys: (B,) int64, equal for equal images; -1 matches its own pair alone.
        text_keys: (B,) int64 likewise of texts; None: equal images alone match.
        seed: the same on every rank, another at every step.
        among: 'all' draws from the pairs of all ranks, as the released code does;
            'process' from this rank's own.

    Returns:
        Rows among the pairs of all ranks, in rank order.

    Raises:
        ValueError: if shapes do not fit or ``among`` is unknown.

    Reference: R2D2 (arXiv:2205.03860), section 4.1, fine-grained ranking, after ALBEF
    (arXiv:2107.07651), section 3.2; its released code masks positives after the
    softmax, which is the same distribution.
    """
    if among not in AMONG:
        raise ValueError(f'among must be one of {AMONG}, got {among!r}')
    layout = row_layout(len(image_embeds), image_embeds.device)
    matches = match_matrix(image_embeds, text_embeds, image_keys, text_keys, layout)
    if among == 'process':
        own = layout.own_rows(matches.device)
        elsewhere = torch.ones_like(matches)
        elsewhere[:, own] = False
        matches = matches | elsewhere
    all_images = all_gather_rows(image_embeds.double(), layout)
    all_texts = all_gather_rows(text_embeds.double(), layout)
    draw = torch.Generator().manual_seed(seed)
    numbers = torch.rand(2, layout.total, generator=draw, dtype=torch.float64)
    start = layout.offset
    numbers = numbers[:, start : start + len(image_embeds)].to(matches.device)
    scale = 1 / torch.as_tensor(temperature, dtype=torch.double, device=matches.device)
    return Negatives(
        image=_draw(text_embeds.double() @ all_images.T * scale, matches, numbers[0]),
        text=_draw(image_embeds.double() @ all_texts.T * scale, matches, numbers[1]),
    )


def _draw(logits: Tensor, matches: Tensor, numbers: Tensor) -> Tensor:
    """(B,): a column of each row that is no match, -1 where there is none."""
    if not logits.numel():
        return torch.full_like(numbers, -1, dtype=torch.long)
    exists = ~matches.all(1)
    logits = logits.masked_fill(matches, -torch.inf)
    logits[~exists] = 0
    cumulative = logits.softmax(1).cumsum(1)
    # at most the last place with a probability, whatever the sums were rounded to
    points = (numbers * cumulative[:, -1])[:, None]
    columns = torch.searchsorted(cumulative, points, right=True)[:, 0]
    last = matches.shape[1] - 1 - (~matches).flip(1).int().argmax(1)
    return torch.where(exists, torch.minimum(columns, last), -1)


def _pair_weights(
    labels: Tensor, class_weights: Sequence[float], dtype: torch.dtype
) -> Tensor:
    """(N,): ratios count alone, so that the smallest is 1."""
    weights = torch.tensor(class_weights, dtype=dtype, device=labels.device)
    return (weights / weights[weights > 0].min())[labels]


def _check_matching(
    parts: list[Tensor],
    targets: Tensor,
    class_weights: Sequence[float],
    valid: Tensor | None,
) -> None:
    shape = (*targets.shape, 2)
    if targets.ndim != 2 or not parts or any(part.shape != shape for part in parts):
        raise ValueError(
            'logits must be parts (K, k, 2) and targets (K, k), got '
            f'{[tuple(part.shape) for part in parts]} and {tuple(targets.shape)}'
        )
    if targets.dtype != torch.bool:
        raise ValueError(f'targets must be bool, got {targets.dtype}')
    if valid is not None and (
        valid.shape != targets.shape or valid.dtype != torch.bool
    ):
        raise ValueError(
            f'valid must be bool and {tuple(targets.shape)} like targets, got '
            f'{valid.dtype} and {tuple(valid.shape)}'
        )
    weights = [float(weight) for weight in class_weights]
    if len(weights) != 2 or min(weights) < 0 or max(weights) <= 0:
        raise ValueError(
            'class_weights must be two numbers, 0 or more and not both 0, got '
            f'{class_weights!r}'
        )
