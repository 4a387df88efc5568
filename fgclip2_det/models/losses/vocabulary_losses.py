"""Auxiliary losses on a detector's vocabulary, based on FG-CLIP 2's FGT and TIC."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fgclip2_det.models.losses.process_counts import share_of_count


def hard_name_loss(logits: Tensor, hard_index: Tensor) -> Tensor:
    """Softmax loss of each region's own name against its hard negatives.

    L = -(1/H) sum_h log( e^l_h0 / sum_m e^l_hm ), over the H rows with a negative.

    Args:
        logits: (K, T), regions and texts.
        hard_index: (K, 1 + M) int64 into T, the region's own name first, padded with
            -1.

    Returns:
        Scalar, float32; 0 when no row has a negative.

    Reference: FG-CLIP 2 (arXiv:2510.10921), section 3.2, FGT.
    """
    has_any = (hard_index[:, 1:] >= 0).any(1)
    # the mean over all processes' rows, once gradients are averaged
    count = share_of_count(has_any.sum().to(logits).float())
    logits, hard_index = logits.float()[has_any], hard_index[has_any]
    chosen = logits.gather(1, hard_index.clamp(min=0))
    chosen = chosen.masked_fill(hard_index < 0, float('-inf'))
    return -chosen.log_softmax(1)[:, 0].sum() / count


def vocabulary_tic_loss(
    text_embeds: Tensor, threshold: float = 0.95, topk: int = 10
) -> Tensor:
    """TIC: pushes similar names of one vocabulary apart.

    L = (1/C) sum_i log sum_{m in N_i} exp S_im, where S are cosines and N_i the
    ``topk`` names most similar to i, without i and with S_im <= ``threshold``.

    Args:
        text_embeds: (C, D), L2-normalised.
        threshold: cosine above which two names are synonyms.
        topk: maximum size of N_i.

    Returns:
        Scalar, float32; a name with empty N_i contributes 0.

    Reference: FG-CLIP 2 (arXiv:2510.10921), equation 1.
    """
    texts = text_embeds.float()
    cosines = texts @ texts.T
    drop = cosines.detach() > threshold
    drop.fill_diagonal_(True)
    near = cosines.masked_fill(drop, float('-inf'))
    near = near.topk(min(topk, len(texts)), dim=1).values
    none = near.isneginf().all(1)
    total = near.masked_fill(none[:, None], 0).logsumexp(1).masked_fill(none, 0).sum()
    return total / max(len(texts), 1)


def nearest_names(text_embeds: Tensor, is_base: Tensor, num: int) -> Tensor:
    """Each base name and the ``num`` base names most similar to it.

    Args:
        text_embeds: (C, D), L2-normalised.
        is_base: (C,) bool.
        num: maximum number of negatives per name.

    Returns:
        (C, 1 + num) int64 into C, the name itself first, padded with -1; novel names
        have no negatives.
    """
    cosines = text_embeds.float() @ text_embeds.float().T
    out = ~(is_base[:, None] & is_base)
    out.fill_diagonal_(True)
    near = cosines.masked_fill(out, float('-inf')).topk(min(num, len(is_base)), 1)
    nearest = near.indices.masked_fill(near.values.isneginf(), -1)
    own = torch.arange(len(is_base), device=nearest.device)[:, None]
    return F.pad(torch.cat([own, nearest], 1), (0, num - nearest.shape[1]), value=-1)
