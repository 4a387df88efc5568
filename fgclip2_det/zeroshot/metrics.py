"""Ranks and rates of embeddings: pure functions, no data set and no model.

Every function counts a tie against the model, and a score that is not a number too: a
model that gives the same answer for everything gets 0 %, not chance level.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

# Cosines closer than this are a tie: equal vectors differ by some 1e-7 where float32
# sums run in another order.
TIE = 1e-6
BLOCK_ELEMENTS = 1 << 24  # scores held at once, 64 MB in float32


def match_ranks(
    queries: Tensor,
    gallery: Tensor,
    query_of: Tensor,
    match_of: Tensor,
    block_elements: int = BLOCK_ELEMENTS,
) -> Tensor:
    """Rank of each query's best match among all that do not match it.

    rank_q = 1 + #{g not a match of q: s_qg >= max over matches m of s_qm - TIE}, with
    s the cosine. Exact: a block of queries is compared with the whole gallery.

    Args:
        queries: (Q, D), L2-normalised.
        gallery: (G, D), L2-normalised.
        query_of: (P,) rows of ``queries``; pair p says that gallery entry
            ``match_of[p]`` is right for query ``query_of[p]``. No pair twice.
        match_of: (P,) rows of ``gallery``.
        block_elements: scores held at once.

    Returns:
        (Q,) int64 on the CPU, 1 = right.

    Raises:
        ValueError: if a query has no match, an index is out of range, or the
            shapes differ.
    """
    _check_widths(queries, gallery)
    query_of, match_of = query_of.cpu().long(), match_of.cpu().long()
    _check_indices('query_of', query_of, len(queries), least=0)
    _check_indices('match_of', match_of, len(gallery), least=0)
    alone = torch.bincount(query_of, minlength=len(queries)) == 0
    if alone.any():
        raise ValueError(
            f'query {int(alone.nonzero()[0])} has no match; every query needs at least '
            'one'
        )
    order = query_of.argsort(stable=True)
    query_of, match_of = query_of[order], match_of[order]
    size = max(1, block_elements // max(1, len(gallery)))
    ranks = []
    for start in range(0, len(queries), size):
        ends = torch.tensor([start, start + size])
        first, last = torch.searchsorted(query_of, ends).tolist()
        scores = queries[start : start + size].float() @ gallery.float().T
        ranks.append(
            _block_ranks(scores, query_of[first:last] - start, match_of[first:last])
        )
    return torch.cat(ranks) if ranks else torch.zeros(0, dtype=torch.int64)


def _block_ranks(scores: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(b,) ranks from scores (b, G) and the places (rows, columns) of the matches."""
    rows, columns = rows.to(scores.device), columns.to(scores.device)
    best = scores.new_full((len(scores),), -torch.inf)
    best = best.scatter_reduce(0, rows, scores[rows, columns], 'amax')
    rivals = torch.ones_like(scores, dtype=torch.bool)
    rivals[rows, columns] = False
    # not (lower) instead of (higher or equal): NaN is neither
    above = ~(scores < best[:, None] - TIE) & rivals
    return (1 + above.sum(1)).cpu()


def label_ranks(region_embeds: Tensor, class_embeds: Tensor, labels: Tensor) -> Tensor:
    """Rank of each region's own class among all classes.

    Args:
        region_embeds: (K, D), L2-normalised. K may be 0.
        class_embeds: (C, D), L2-normalised.
        labels: (K,) rows of ``class_embeds``.

    Returns:
        (K,) int64 on the CPU, 1 = right.
    """
    if labels.shape != (len(region_embeds),):
        raise ValueError(
            f'labels must be (regions,) = ({len(region_embeds)},), got '
            f'{tuple(labels.shape)}'
        )
    return match_ranks(region_embeds, class_embeds, torch.arange(len(labels)), labels)


def hard_negative_ranks(
    region_embeds: Tensor,
    text_embeds: Tensor,
    hard_index: Tensor,
    block_elements: int = BLOCK_ELEMENTS,
) -> Tensor:
    """Rank of each region's true text among its own negatives.

    Args:
        region_embeds: (K, D), L2-normalised. K may be 0.
        text_embeds: (T, D), L2-normalised.
        hard_index: (K, 1 + M) rows of ``text_embeds``; column 0 is the true text,
            -1 an absent negative.
        block_elements: numbers of gathered texts held at once.

    Returns:
        (K,) int64 on the CPU, 1 = right.

    Raises:
        ValueError: if a true text is absent, or a region has no negative at all.
    """
    _check_widths(region_embeds, text_embeds)
    if hard_index.ndim != 2 or len(hard_index) != len(region_embeds):
        raise ValueError(
            f'hard_index must be (regions, 1 + negatives) with {len(region_embeds)} '
            f'rows, got {tuple(hard_index.shape)}'
        )
    hard_index = hard_index.to(region_embeds.device)
    _check_indices('hard_index', hard_index, len(text_embeds), least=-1)
    absent = hard_index < 0
    bad = absent[:, 0] | absent[:, 1:].all(1)
    if bad.any():
        raise ValueError(
            f'region {int(bad.nonzero()[0])} needs a true text and at least one '
            'negative; leave the region out'
        )
    per_region = max(1, hard_index.shape[1] * region_embeds.shape[1])
    size = max(1, block_elements // per_region)
    ranks = []
    for start in range(0, len(hard_index), size):
        rows = slice(start, start + size)
        texts = text_embeds[hard_index[rows].clamp(min=0)].float()  # (b, 1 + M, D)
        scores = torch.einsum('kd,kmd->km', region_embeds[rows].float(), texts)
        above = ~(scores[:, 1:] < scores[:, :1] - TIE) & ~absent[rows, 1:]
        ranks.append((1 + above.sum(1)).cpu())
    return torch.cat(ranks) if ranks else torch.zeros(0, dtype=torch.int64)


def recall_at(ranks: Tensor, k: int = 1) -> float:
    """Percentage of ranks that are at most k.

    Raises:
        ValueError: if ``ranks`` is empty.
    """
    if not len(ranks):
        raise ValueError('a recall without ranks is not defined; leave the metric out')
    return 100 * int((ranks <= k).sum()) / len(ranks)


def derangement(n: int, seed: int) -> Tensor:
    """(n,) permutation of 0 .. n - 1 that leaves no element in its place.

    Every element takes the place of its neighbour in a random circle.

    Raises:
        ValueError: if n is below 2: one element has only its own place.
    """
    if n < 2:
        raise ValueError(f'a derangement needs at least 2 elements, got {n}')
    circle = torch.from_numpy(np.random.default_rng(seed).permutation(n))
    moved = torch.empty_like(circle)
    moved[circle] = circle.roll(1)
    return moved


def _check_widths(one: Tensor, other: Tensor) -> None:
    if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1]:
        raise ValueError(
            'embeddings must be (n, D) with the same D, got '
            f'{tuple(one.shape)} and {tuple(other.shape)}'
        )


def _check_indices(name: str, index: Tensor, size: int, least: int) -> None:
    if index.numel() and not least <= int(index.min()) <= int(index.max()) < size:
        raise ValueError(
            f'{name} must lie in [{least}, {size}), got {int(index.min())} to '
            f'{int(index.max())}'
        )
