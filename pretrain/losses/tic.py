"""L_TIC: textual intra-modal contrast, which pushes similar region texts apart."""

import torch
from torch import Tensor

from .gather import all_gather_rows, rank_share, row_layout, world_size
from .precision import full_precision, without_autocast

SIMILAR = ('remove', 'zero')
REDUCTIONS = ('mean', 'sum')


@without_autocast
def tic_loss(
    text_embeds: Tensor,
    *,
    text_keys: Tensor | None = None,
    similar: str = 'remove',
    reduction: str = 'mean',
    threshold: float = 0.95,
    topk: int = 10,
) -> Tensor:
    """Textual intra-modal contrast among the region texts of the global batch.

    L = sum_i log sum_{m in N_i} exp S_im, with S cosines and N_i the ``topk`` most
    similar texts to i that are not i and have S_im <= ``threshold``; a text without
    any adds 0. There is no temperature.

    Args:
        text_embeds: (R, D), L2-normalised; R may be 0 and differ between ranks.
        text_keys: (R,) int64, equal where texts are equal. A text's own copies are
            then never in N_i, even when their cosine would allow it (``'remove'``
            only). Rows with key -1 are not texts and are left out.
        similar: what becomes of a pair over the threshold, and of i itself:
            ``'remove'`` takes it out of N_i (the paper), ``'zero'`` sets its S to the
            constant 0, which may be among the ``topk`` (the released code).
        reduction: ``'sum'`` over all texts (the paper), or their ``'mean'`` (the
            released code).
        threshold: cosine above which two texts count as the same.
        topk: size of N_i; all there are where they are fewer.

    Returns:
        Scalar, float32: this rank's share (see :mod:`.gather`); 0 without texts.

    Raises:
        ValueError: if shapes do not fit or an option is unknown.

    Reference: FG-CLIP 2 (arXiv:2510.10921), equation 1.
    """
    _check(text_embeds, text_keys, similar, reduction, topk)
    if text_keys is not None:
        present = text_keys >= 0
        text_embeds, text_keys = text_embeds[present], text_keys[present]
    (texts,) = full_precision(text_embeds)
    layout = row_layout(len(texts), texts.device)
    cosines = texts @ all_gather_rows(texts, layout).T  # (R, texts of all ranks)
    drop = cosines.detach() > threshold
    drop.diagonal(layout.offset).fill_(True)
    if text_keys is not None and similar == 'remove':
        drop |= text_keys[:, None] == all_gather_rows(text_keys, layout)
    value = 0.0 if similar == 'zero' else -torch.inf
    near = cosines.masked_fill(drop, value).topk(min(topk, layout.total)).values
    total = _log_sum_exp(near).sum()
    return total * world_size() if reduction == 'sum' else rank_share(total, len(texts))


def _log_sum_exp(values: Tensor) -> Tensor:
    """(R, k) to (R,); rows of -inf alone give 0 instead, without gradient."""
    none = (values == -torch.inf).all(1)
    finite = values.masked_fill(none[:, None], 0)  # else the gradient would be nan
    return finite.logsumexp(1).masked_fill(none, 0)


def _check(
    texts: Tensor, keys: Tensor | None, similar: str, reduction: str, topk: int
) -> None:
    if texts.ndim != 2:
        raise ValueError(f'text_embeds must be (R, D), got {tuple(texts.shape)}')
    if keys is not None and keys.shape != texts.shape[:1]:
        raise ValueError(f'text_keys must be ({len(texts)},), got {tuple(keys.shape)}')
    if similar not in SIMILAR:
        raise ValueError(f'similar must be one of {SIMILAR}, got {similar!r}')
    if reduction not in REDUCTIONS:
        raise ValueError(f'reduction must be one of {REDUCTIONS}, got {reduction!r}')
    if topk < 1:
        raise ValueError(f'topk must be 1 or more, got {topk}')
