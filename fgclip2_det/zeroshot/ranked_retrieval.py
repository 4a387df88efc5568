"""Image-text retrieval by pre-ranking and ranking."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .caption_pairs import CaptionPairs, add_recalls
from .embedder import Embedder
from .images import ImageItem
from .metrics import TIE
from .pair_scores import PairScorer
from .report import Report

BLOCK_ELEMENTS = 1 << 22  # cosines sorted at once


def add_ranked_retrieval(
    report: Report,
    prefix: str,
    embedder: Embedder,
    scorer: PairScorer,
    items: Sequence[ImageItem],
    captions: CaptionPairs,
    image_embeds: Tensor,
    text_embeds: Tensor,
    mode: str,
    k: int,
    ks: Sequence[int] = (1,),
) -> None:
    """Add the recalls of i2t and t2i with ranking; see :func:`.add_retrieval` for what
    is right.

    The k best by cosine are ranked by probability of a match + cosine, which is not
    divided by a temperature; all others come after them. With fewer than k to choose
    from, all are ranked; ``PREFIX/candidates/{i2t,t2i}`` says how many were. A pair
    that both directions ask for is scored once.

    Args:
        report: gets ``PREFIX/{i2t,t2i}``, and ``...@n`` for n of ``ks`` other than 1.
        prefix: of the names.
        embedder: whose encoder's tokens the scorer reads.
        scorer: of the pairs.
        items: B images.
        captions: of them.
        image_embeds: (B, D), L2-normalised.
        text_embeds: (T, D) of the distinct captions, L2-normalised.
        mode: of the texts.
        k: candidates of a query.
        ks: R@n for each n.

    Reference: R2D2 (arXiv:2205.03860), section 4.2.
    """
    images, rows = captions.images, captions.rows
    i2t = best_candidates(image_embeds, text_embeds, images, rows, k)
    t2i = best_candidates(text_embeds, image_embeds, rows, images, k)
    pairs, where = _pairs(i2t[0], t2i[0], len(captions.texts))
    found = scorer.scores(embedder, items, captions.texts, mode, pairs)
    i2t_found, t2i_found = found[where].split([i2t[0].numel(), t2i[0].numel()])
    ranks = []
    for (chosen, cosines), probabilities, matches, size in (
        (i2t, i2t_found, (images, rows), len(text_embeds)),
        (t2i, t2i_found, (rows, images), len(image_embeds)),
    ):
        scores = probabilities.view_as(cosines) + cosines
        ranks.append(ranked_ranks(chosen, scores, *matches, size))
    add_recalls(report, prefix, ranks[0], ranks[1][captions.text_of], ks)
    report.counts[f'{prefix}/candidates/i2t'] = i2t[0].shape[1]
    report.counts[f'{prefix}/candidates/t2i'] = t2i[0].shape[1]
    report.counts[f'{prefix}/scored_pairs'] = len(pairs)


def best_candidates(
    queries: Tensor,
    gallery: Tensor,
    query_of: Tensor,
    match_of: Tensor,
    k: int,
    block_elements: int = BLOCK_ELEMENTS,
) -> tuple[Tensor, Tensor]:
    """The k best of the gallery for each query by cosine.

    Exact. A match that ties with others, up to :data:`.metrics.TIE`, comes after them,
    so that a tie at the last place counts against the model; of others that tie, the
    first comes first.

    Args:
        queries: (Q, D), L2-normalised.
        gallery: (G, D), L2-normalised.
        query_of, match_of: (P,) the pairs that match, as of :func:`.match_ranks`.
        k: at least 1; all where the gallery is smaller.
        block_elements: cosines sorted at once.

    Returns:
        (Q, min(k, G)) rows of the gallery, int64, best first, and their cosines,
        float32, both on the CPU.

    Raises:
        ValueError: if k is less than 1.
    """
    if k < 1:
        raise ValueError(f'k must be at least 1, got {k}')
    order = query_of.argsort(stable=True)
    query_of, match_of = query_of[order], match_of[order]
    size = max(1, block_elements // max(1, len(gallery)))
    parts = []
    for start in range(0, len(queries), size):
        ends = torch.tensor([start, start + size])
        first, last = torch.searchsorted(query_of, ends).tolist()
        cosines = queries[start : start + size].float() @ gallery.float().T
        # of equal values, stable sorting keeps the order: a match has to be lower
        lowered = cosines.clone()
        matches = query_of[first:last] - start, match_of[first:last]
        places = tuple(place.to(cosines.device) for place in matches)
        lowered[places] -= TIE
        best = lowered.sort(descending=True, stable=True).indices[:, :k]
        parts.append((best.cpu(), cosines.gather(1, best).cpu()))
    rows, values = zip(*parts, strict=True)
    return torch.cat(rows), torch.cat(values)


def ranked_ranks(
    candidates: Tensor,
    scores: Tensor,
    query_of: Tensor,
    match_of: Tensor,
    gallery_size: int,
) -> Tensor:
    """Rank of each query's best match among all that do not match it.

    What is no candidate comes after all candidates and ties with all that is none: a
    query without a match among its candidates has the rank after all that do not match.
    Ties count against the model as in :func:`.match_ranks`.

    Args:
        candidates: (Q, k) rows of the gallery.
        scores: (Q, k) of them.
        query_of, match_of: (P,) the pairs that match; every query has one.
        gallery_size: G.

    Returns:
        (Q,) int64, 1 = right.
    """
    num_queries = len(candidates)
    keys = torch.arange(num_queries)[:, None] * gallery_size + candidates
    is_match = torch.isin(keys, query_of * gallery_size + match_of)
    best = scores.masked_fill(~is_match, -torch.inf).amax(1)
    above = ~(scores < best[:, None] - TIE) & ~is_match
    num_matches = torch.bincount(query_of, minlength=num_queries)
    last = gallery_size - num_matches + 1
    return torch.where(is_match.any(1), 1 + above.sum(1), last)


def _pairs(i2t: Tensor, t2i: Tensor, num_texts: int) -> tuple[Tensor, Tensor]:
    """(P, 2) distinct pairs of image and text by image, and for each candidate of
    images (B, k) and then of texts (T, k) the place of its pair."""
    of_images = torch.arange(len(i2t))[:, None] * num_texts + i2t
    of_texts = t2i * num_texts + torch.arange(len(t2i))[:, None]
    keys = torch.cat([of_images.flatten(), of_texts.flatten()])
    distinct, where = keys.unique(return_inverse=True)
    return torch.stack([distinct // num_texts, distinct % num_texts], 1), where
