"""L_FGV: contrastive loss of regions and the phrases of the global batch."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .contrastive import paired_cross_entropy
from .gather import all_gather_rows, rank_share, row_layout
from .precision import full_precision, without_autocast

FORMS = ('identity', 'distinct', 'local')


@without_autocast
def region_text_loss(
    region_embeds: Tensor,
    text_embeds: Tensor,
    phrase_index: Tensor,
    text_keys: Tensor | None,
    logit_scale: Tensor,
    *,
    true_keys: Tensor | None = None,
    form: str = 'distinct',
) -> Tensor:
    """Symmetric contrastive loss of regions R_k and phrases, over all ranks.

    With p(k) the phrase of region k and s_kt = exp(s) cos(R_k, T_t):

    ``'identity'``, the released form: K pairs, one of them right,
    L = (1/2K) sum_k [CE(s_k,p(.), k) + CE(s_.,p(k), k)]. A phrase that two regions
    share is a wrong answer to each of them once.

    ``'distinct'``: the phrases that occur, each once, P = {p(1), ..., p(K)}.

    L = -(1/2K) sum_k [ log( e^s_k,p(k) / sum_{t in P \\ O_k} e^s_kt )
    + log( sum_{j: p(j) = p(k)} e^s_j,p(k) / sum_{j: p(k) not in O_j} e^s_j,p(k) ) ]

    O_k are the texts other than p(k) known to be true of region k: no right answer
    here, and no wrong one either. Without shared phrases and O it is ``'identity'``.

    ``'local'``: ``'identity'`` with the K regions of this rank alone, as the released
    code of FG-CLIP 1 has it. The loss of two ranks is then the mean of two losses, not
    that of one rank with all regions.

    Args:
        region_embeds: (K, D), L2-normalised. K may be 0, also on one rank alone.
        text_embeds: (T, D), L2-normalised, this rank's texts of any kind.
        phrase_index: (K,) int64 into T.
        text_keys: (T,) int64, equal where texts are equal, on all ranks; only
            ``'distinct'`` reads them.
        logit_scale: s, one number in log space.
        true_keys: (K, n) int64, -1 for none, n the same on all ranks: keys of texts
            known to be true of each region, its phrase among them or not. They need
            not be among this rank's T. Only ``'distinct'`` reads them.
        form: see above.

    Returns:
        Scalar, float32: this rank's share (see :mod:`.gather`); 0 without regions.

    Raises:
        ValueError: if shapes do not fit, a region has no phrase, the form is unknown or
            its keys are missing.

    Reference: FG-CLIP 2 (arXiv:2510.10921), section 3.2, names this loss and gives
    no formula; ``'identity'`` is what the released code does on one process.
    """
    _check(region_embeds, text_embeds, phrase_index, text_keys, true_keys, form)
    regions, texts, log_scale = full_precision(region_embeds, text_embeds, logit_scale)
    queries = regions * log_scale.exp().reshape(())
    if form == 'local':
        return _local_mean(queries, texts[phrase_index])
    if form == 'identity':
        total = paired_cross_entropy(queries, texts[phrase_index])
    else:
        assert text_keys is not None  # checked above
        keys = text_keys[phrase_index][:, None]
        if true_keys is not None:
            keys = torch.cat([keys, true_keys], dim=1)
        used, count = phrase_index.unique(return_counts=True)
        total = _distinct_sum(queries, keys, texts[used], text_keys[used], count)
    return rank_share(total / 2, len(regions))


def _check(
    regions: Tensor,
    texts: Tensor,
    phrase_index: Tensor,
    keys: Tensor | None,
    true_keys: Tensor | None,
    form: str,
) -> None:
    if form not in FORMS:
        raise ValueError(f'form must be one of {FORMS}, got {form!r}')
    if regions.ndim != 2 or texts.ndim != 2 or regions.shape[1] != texts.shape[1]:
        raise ValueError(
            'region_embeds must be (K, D) and text_embeds (T, D), got '
            f'{tuple(regions.shape)} and {tuple(texts.shape)}'
        )
    if phrase_index.shape != regions.shape[:1]:
        raise ValueError(
            f'phrase_index must be ({len(regions)},), one text per region, got '
            f'{tuple(phrase_index.shape)}'
        )
    if (phrase_index < 0).any():
        raise ValueError('phrase_index must name a text for every region, got -1')
    if form == 'distinct' and (keys is None or keys.shape != texts.shape[:1]):
        shape = None if keys is None else tuple(keys.shape)
        raise ValueError(
            f"form='distinct' needs text_keys ({len(texts)},), got {shape}"
        )
    if true_keys is not None and (
        true_keys.ndim != 2 or len(true_keys) != len(regions)
    ):
        raise ValueError(
            f'true_keys must be ({len(regions)}, n), got {tuple(true_keys.shape)}'
        )


def _local_mean(queries: Tensor, phrases: Tensor) -> Tensor:
    """Half of both cross entropies of this rank's pairs among themselves."""
    own = torch.arange(len(queries), device=queries.device)
    logits = queries @ phrases.T  # (K, K)
    total = F.cross_entropy(logits, own, reduction='sum')
    total = total + F.cross_entropy(logits.T, own, reduction='sum')
    return total / (2 * max(len(queries), 1))


def _distinct_sum(
    queries: Tensor, keys: Tensor, phrases: Tensor, phrase_keys: Tensor, count: Tensor
) -> Tensor:
    """Both directions, summed over this rank's regions.

    Args:
        queries, keys: (K, D) scaled regions; (K, 1 + n) keys of what is true of them.
        phrases, phrase_keys, count: (U, D), (U,), (U,): this rank's phrases, and how
            many of its regions each one has.
    """
    all_phrases, all_phrase_keys = _distinct_phrases(phrases, phrase_keys)
    to_text = queries @ all_phrases.T  # (K, phrases of all ranks)
    to_text = to_text.masked_fill(_also_true(keys, all_phrase_keys), -torch.inf)
    own = torch.searchsorted(all_phrase_keys, keys[:, 0].contiguous())
    total = F.cross_entropy(to_text, own, reduction='sum')

    layout = row_layout(len(queries), queries.device)
    all_keys = all_gather_rows(keys, layout)
    to_region = phrases @ all_gather_rows(queries, layout).T  # (U, regions of all)
    to_region = to_region.masked_fill(_also_true(all_keys, phrase_keys).T, -torch.inf)
    wrong = phrase_keys[:, None] != all_keys[:, 0]
    log_prob = to_region.log_softmax(1).masked_fill(wrong, -torch.inf)
    return total - (log_prob.logsumexp(1) * count).sum()


def _distinct_phrases(phrases: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """The first copy of each phrase of all ranks (P, D), and its key (P,), ascending.

    Copies on several ranks are the same text under the same weights, so one of them
    gives the weights the gradient of all.
    """
    layout = row_layout(len(phrases), phrases.device)
    unique, copy_of = all_gather_rows(keys, layout).unique(return_inverse=True)
    position = torch.arange(len(copy_of), device=keys.device)
    first = torch.full_like(unique, len(copy_of))
    first = first.scatter_reduce(0, copy_of, position, 'amin')
    return all_gather_rows(phrases, layout)[first], unique


def _also_true(keys: Tensor, phrase_keys: Tensor) -> Tensor:
    """(K, P) bool: the phrase is true of the region, but another one is its own.

    Args:
        keys: (K, 1 + n), the own phrase first.
        phrase_keys: (P,).
    """
    is_other = torch.zeros(
        len(keys), len(phrase_keys), dtype=torch.bool, device=keys.device
    )
    for column in keys[:, 1:].unbind(1):
        is_other |= column[:, None] == phrase_keys
    return is_other & (keys[:, :1] != phrase_keys)
