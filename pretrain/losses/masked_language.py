"""Masked language modelling: which tokens are hidden, and the cross entropy of them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .gather import rank_share, row_layout
from .precision import full_precision, without_autocast

KEPT = -1  # target of a token that is not to be told


@torch.no_grad()
def mask_tokens(
    ids: Tensor,
    maskable: Tensor,
    mask_id: int,
    random_ids: tuple[int, int],
    *,
    seed: int,
    rate: float = 0.15,
    mask_share: float = 0.8,
    random_share: float = 0.1,
) -> tuple[Tensor, Tensor]:
    """Hide some tokens of each text.

    Each token that may be hidden is to be told with probability ``rate``; of those a
    share becomes the mask, a share a random token, and the others stay.

    Numbers are drawn for the texts of all ranks from a generator of ``seed``, so that
    the outcome does not depend on how they are split over ranks.

    Args:
        ids: (B, L) int64. B may be 0, also on one rank alone.
        maskable: (B, L) bool.
        mask_id: id of the mask.
        random_ids: first and last + 1 of the ids that may replace a token.
        seed: the same on every rank, another at every step.
        rate, mask_share, random_share: BERT's by default.

    Returns:
        Ids (B, L); and targets (B, L), the token where it is to be told, -1 elsewhere.

    Raises:
        ValueError: if shapes differ or shares are outside [0, 1].

    Reference: BERT (arXiv:1810.04805), section 3.1.
    """
    shares = rate, mask_share, random_share, mask_share + random_share
    if not all(0 <= share <= 1 for share in shares):
        raise ValueError(
            'rate, mask_share, random_share and the sum of the last two must lie in '
            f'[0, 1], got {rate}, {mask_share} and {random_share}'
        )
    if ids.ndim != 2 or ids.shape != maskable.shape:
        raise ValueError(
            'ids and maskable must be (B, L), got '
            f'{tuple(ids.shape)} and {tuple(maskable.shape)}'
        )
    layout = row_layout(len(ids), ids.device)
    generator = torch.Generator().manual_seed(seed)
    size = layout.total, ids.shape[1]
    own = slice(layout.offset, layout.offset + len(ids))
    told, kind = torch.rand(2, *size, generator=generator)[:, own].to(ids.device)
    words = torch.randint(*random_ids, size, generator=generator)[own].to(ids.device)
    chosen = maskable & (told < rate)
    hidden = ids.masked_fill(chosen & (kind < mask_share), mask_id)
    replaced = chosen & (kind >= mask_share) & (kind < mask_share + random_share)
    return torch.where(replaced, words, hidden), ids.masked_fill(~chosen, KEPT)


@without_autocast
def masked_language_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the hidden tokens of all ranks of -log softmax(logits_i)_(target_i).

    Args:
        logits: (M, V) of this rank's hidden tokens. M may be 0, also on one rank alone.
        targets: (M,) int64, the tokens.

    Returns:
        Scalar, float32: this rank's share (see :mod:`.gather`); 0 without tokens.

    Raises:
        ValueError: if shapes do not fit.

    Reference: BERT (arXiv:1810.04805), section 3.1; ALBEF (arXiv:2107.07651), section
    3.2, over the states of text tokens that have read the image.
    """
    if logits.ndim != 2 or targets.shape != logits.shape[:1]:
        raise ValueError(
            'logits must be (M, V) and targets (M,), got '
            f'{tuple(logits.shape)} and {tuple(targets.shape)}'
        )
    [wide] = full_precision(logits)
    return rank_share(F.cross_entropy(wide, targets, reduction='sum'), len(targets))
