"""L_FGT: contrast of a region's phrase with its hard negatives."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .gather import all_gather_rows, rank_share, row_layout
from .precision import full_precision, without_autocast

FORMS = ('softmax', 'binary')


@without_autocast
def hard_cosines(
    region_embeds: Tensor, text_embeds: Tensor, hard_region: Tensor, hard_index: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Cosines of regions with their hard positive and their hard negatives.

    Args:
        region_embeds: (K, D), L2-normalised.
        text_embeds: (T, D), L2-normalised.
        hard_region: (H,) int64 into K. H may be 0.
        hard_index: (H, 1 + M) int64 into T, the positive first, -1 for a negative
            that is not there.

    Returns:
        positive (H,) and negative (H, M), float32; valid (H, M) bool, False where
        there is no negative (its cosine is 0 and has no gradient).

    Raises:
        ValueError: if shapes do not fit, or a region or positive is missing.
    """
    _check(region_embeds, text_embeds, hard_region, hard_index)
    regions, texts = full_precision(region_embeds, text_embeds)
    valid = hard_index >= 0
    rows = texts[hard_index.clamp(min=0)]  # (H, 1 + M, D)
    cosines = torch.einsum('hd,hmd->hm', regions[hard_region], rows)
    cosines = cosines.masked_fill(~valid, 0)
    return cosines[:, 0], cosines[:, 1:], valid[:, 1:]


@without_autocast
def hard_negative_loss(
    region_embeds: Tensor,
    text_embeds: Tensor,
    hard_region: Tensor,
    hard_index: Tensor,
    logit_scale: Tensor,
    logit_bias: Tensor | None = None,
    *,
    form: str = 'softmax',
) -> Tensor:
    """Tell a region's text from its hard negatives.

    With l_h0 the logit exp(s) cos + b of the positive, l_hm of negative m, V the
    texts that are there:

    ``'softmax'``, the released form:
    L = -(1/H) sum_h log( e^l_h0 / sum_{m in V} e^l_hm )

    ``'binary'``, as the paper words it ("binary classification"):
    L = (1/|V|) sum_h [ softplus(-l_h0) + sum_{m in V, m > 0} softplus(l_hm) ]

    Args:
        region_embeds, text_embeds, hard_region, hard_index: as in
            :func:`hard_cosines`.
        logit_scale: s, one number in log space.
        logit_bias: b, one number; 0 when None. Without effect on ``'softmax'``.
        form: see above.

    Returns:
        Scalar, float32: this rank's share (see :mod:`.gather`); 0 without rows.

    Raises:
        ValueError: if the form is unknown, shapes do not fit, or a region or positive
            is missing.

    Reference: FG-CLIP 2 (arXiv:2510.10921), section 3.2.
    """
    if form not in FORMS:
        raise ValueError(f'form must be one of {FORMS}, got {form!r}')
    positive, negative, valid = hard_cosines(
        region_embeds, text_embeds, hard_region, hard_index
    )
    positive, negative, log_scale = full_precision(positive, negative, logit_scale)
    logits = torch.cat([positive[:, None], negative], 1) * log_scale.exp().reshape(())
    if logit_bias is not None:
        logits = logits + logit_bias.to(logits.dtype).reshape(())
    if form == 'softmax':
        rest = logits[:, 1:].masked_fill(~valid, -torch.inf)
        logits = torch.cat([logits[:, :1], rest], 1)
        return rank_share(-logits.log_softmax(1)[:, 0].sum(), len(logits))
    total = F.softplus(-logits[:, 0]).sum()
    total = total + F.softplus(logits[:, 1:]).masked_fill(~valid, 0).sum()
    return rank_share(total, len(logits) + valid.sum())


@without_autocast
def hard_contrastive_loss(
    region_embeds: Tensor,
    text_embeds: Tensor,
    hard_region: Tensor,
    hard_index: Tensor,
    logit_scale: Tensor,
) -> Tensor:
    """Extra term of the released code: each region against all hard texts of the batch.

    With P_h the positives and N_t all negatives of the global batch, and logits
    a_hj of (R_h, P_j) and b_ht of (R_h, N_t), exp(s) cos each:

    L = -(1/2H) sum_h [ log( e^a_hh / (sum_j e^a_hj + sum_t e^b_ht) )
    + log( e^a_hh / sum_j e^a_jh ) ]

    Equal texts are not merged: a phrase that two regions share is a wrong answer to
    each of them, as in the released code, which sees one process's batch only.

    Args:
        region_embeds, text_embeds, hard_region, hard_index: as in
            :func:`hard_cosines`.
        logit_scale: s, one number in log space.

    Returns:
        Scalar, float32: this rank's share (see :mod:`.gather`); 0 without rows.

    Raises:
        ValueError: if shapes do not fit, or a region or positive is missing.

    Reference: the released training code; the paper does not mention it.
    """
    _check(region_embeds, text_embeds, hard_region, hard_index)
    regions, texts, log_scale = full_precision(region_embeds, text_embeds, logit_scale)
    queries = regions[hard_region] * log_scale.exp().reshape(())
    positives, negatives = texts[hard_index[:, 0]], hard_index[:, 1:]
    layout = row_layout(len(queries), queries.device)
    own = layout.own_rows(queries.device)
    answers = [
        all_gather_rows(positives, layout),
        all_gather_rows(texts[negatives[negatives >= 0]]),
    ]
    to_text = queries @ torch.cat(answers).T  # (H, all positives and negatives)
    to_region = positives @ all_gather_rows(queries, layout).T  # (H, sum of H)
    total = F.cross_entropy(to_text, own, reduction='sum')
    total = total + F.cross_entropy(to_region, own, reduction='sum')
    return rank_share(total / 2, len(queries))


def _check(
    regions: Tensor, texts: Tensor, hard_region: Tensor, hard_index: Tensor
) -> None:
    if regions.ndim != 2 or texts.ndim != 2 or regions.shape[1] != texts.shape[1]:
        raise ValueError(
            'region_embeds must be (K, D) and text_embeds (T, D), got '
            f'{tuple(regions.shape)} and {tuple(texts.shape)}'
        )
    if hard_index.ndim != 2 or hard_index.shape[1] < 1:
        raise ValueError(
            f'hard_index must be (H, 1 + M), got {tuple(hard_index.shape)}'
        )
    if hard_region.shape != hard_index.shape[:1]:
        raise ValueError(
            f'hard_region must be ({len(hard_index)},), one region per row of '
            f'hard_index, got {tuple(hard_region.shape)}'
        )
    if (hard_region < 0).any():
        raise ValueError('hard_region must name a region in every row, got -1')
    missing = (hard_index[:, 0] < 0).nonzero()
    if len(missing):
        raise ValueError(
            f'row {int(missing[0])} of hard_index has no positive; leave regions '
            'without one out'
        )
