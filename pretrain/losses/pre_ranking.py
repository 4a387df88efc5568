"""Global contrastive pre-ranking: both softmaxes, with every match equally right."""

from __future__ import annotations

import torch
from torch import Tensor

from .gather import all_gather_rows, rank_share, row_layout
from .pairs import match_matrix
from .precision import full_precision, without_autocast

TEMPERATURES = (0.001, 0.5)  # the released code's limits


@without_autocast
def pre_ranking_loss(
    image_embeds: Tensor,
    text_embeds: Tensor,
    temperature: Tensor,
    image_keys: Tensor,
    text_keys: Tensor | None = None,
) -> Tensor:
    """Cross entropy of images I_i and texts T_i of all ranks, in both directions.

    With s_ij = cos(I_i, T_j) / t, N pairs on all ranks, m_ij = 1 where pairs i and j
    match and y_ij = m_ij / sum_j m_ij,

    L = -(1/2N) sum_ij y_ij [ log( e^s_ij / sum_k e^s_ik )
    + log( e^s_ji / sum_k e^s_ki ) ]

    Pairs match if their images, or their texts, have the same key.

    Args:
        image_embeds: (B, D), L2-normalised. B may be 0, also on one rank alone.
        text_embeds: (B, D), L2-normalised, row by row the caption of an image.
        temperature: t > 0, one number, see :func:`clamp_temperature`.
        image_keys: (B,) int64, equal for equal images; -1 matches its own pair alone.
        text_keys: (B,) int64 likewise of texts; None, as in the released code: equal
            images alone match.

    Returns:
        Scalar, float32: this rank's share (see :mod:`.gather`); 0 without rows.

    Raises:
        ValueError: if shapes do not fit.

    Reference: R2D2 (arXiv:2205.03860), section 4.1, global contrastive pre-ranking;
    the targets are its released code's.
    """
    layout = row_layout(len(image_embeds), image_embeds.device)
    matches = match_matrix(image_embeds, text_embeds, image_keys, text_keys, layout)
    images, texts, scale = full_precision(
        image_embeds, text_embeds, 1 / temperature.reshape(())
    )
    targets = equal_shares(matches, images.dtype)
    to_text = images * scale @ all_gather_rows(texts, layout).T  # (B, N)
    to_image = texts * scale @ all_gather_rows(images, layout).T
    total = soft_cross_entropy(to_text, targets) + soft_cross_entropy(to_image, targets)
    return rank_share(total / 2, len(images))


@torch.no_grad()
def clamp_temperature(
    temperature: Tensor, limits: tuple[float, float] = TEMPERATURES
) -> None:
    """Bring a learned temperature back between its limits, in place."""
    temperature.clamp_(*limits)


def equal_shares(matches: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, C) bool with a True in each row -> targets that add up to 1 in each row."""
    shares = matches.to(dtype)
    return shares / shares.sum(1, keepdim=True)


def soft_cross_entropy(
    logits: Tensor, targets: Tensor, weights: Tensor | None = None
) -> Tensor:
    """-sum_ij w_j y_ij log softmax(logits_i)_j: (B, C) each, weights (C,) or None."""
    terms = targets * logits.log_softmax(1)
    return -(terms if weights is None else terms * weights).sum()
