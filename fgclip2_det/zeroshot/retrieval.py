"""Image-text retrieval."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from fgclip2_det.fgclip2 import DualEncoder

from .caption_files import read_captions
from .caption_pairs import KS, RANKED, CaptionPairs, add_mean_recall, add_recalls
from .embedder import Embedder
from .images import ImageItem, check_images_exist, take_first
from .metrics import match_ranks
from .report import Report

if TYPE_CHECKING:
    from fgclip2_det.ranker import Ranker

    from .pair_scores import PairScorer

MODES = ('short', 'long')


def evaluate_retrieval(
    encoder: DualEncoder | Embedder,
    ann_file: str | os.PathLike,
    image_root: str | os.PathLike,
    mode: str = 'short',
    num_images: int | None = None,
    max_num_patches: int | str = 'auto',
    progress: bool = True,
    ranker: Ranker | None = None,
    ranker_k: int = RANKED,
) -> dict[str, dict]:
    """R@1, R@5 and R@10 of images and captions, in percent.

    Keys are ``retrieval/MODE/{i2t,t2i}``, ``.../{i2t,t2i}@5`` and ``@10``, and
    ``.../mean_recall``; with a ranker also ``retrieval_ranked/MODE/...``. See
    :func:`add_retrieval` for what is right, and :func:`.add_ranked_retrieval` for what
    is ranked.

    Args:
        encoder: with both towers and a tokenizer, or an embedder around one (its
            patch budget and bars then count).
        ann_file: lines ``image_path<TAB>caption``, UTF-8; an image may have several.
        image_root: folder that the paths start from.
        mode: 'short' (64 tokens) or 'long' (196).
        num_images: the first n images alone; None takes all.
        max_num_patches: patches per image; 'auto' as in training.
        progress: show bars on a terminal.
        ranker: of whole images, trained on the encoder.
        ranker_k: candidates that it ranks for a query; all where there are fewer.

    Returns:
        ``{'metrics': ..., 'denominators': ..., 'counts': ...}``; see :class:`Report`.

    Raises:
        ValueError: naming line or image: no tab, an empty caption, a missing or
            unreadable image.

    Reference: FG-CLIP 2 (arXiv:2510.10921), Tables 4 and 5.
    """
    if mode not in MODES:
        raise ValueError(f'mode must be one of {list(MODES)}, got {mode!r}')
    image_root = Path(image_root)
    captions = read_captions(ann_file)
    chosen = take_first(list(captions), num_images)
    items = [ImageItem(image_root / name, captions=captions[name]) for name in chosen]
    check_images_exist(items, image_root)
    embedder = Embedder.of(encoder, max_num_patches, progress)
    scorer = embedder.pair_scorer
    if ranker is not None:
        from .ranker_scores import RankerScorer  # who ranks nothing needs no ranker

        scorer = RankerScorer(ranker)
    report = Report()
    report.counts['images'] = len(items)
    measure_retrieval(report, embedder, items, mode, scorer, ranker_k)
    report.counts[f'truncated_texts/{mode}'] = embedder.num_truncated[mode]
    return report.to_dict()


def measure_retrieval(
    report: Report,
    embedder: Embedder,
    items: Sequence[ImageItem],
    mode: str,
    scorer: PairScorer | None,
    k: int,
) -> None:
    """Add the recalls of the cosines, and with a scorer those of the ranking.

    Args:
        report: gets ``retrieval/MODE/...`` and ``retrieval_ranked/MODE/...``.
        embedder: of the images and their captions.
        items: images with their captions.
        mode: of the texts.
        scorer: of the candidates; None: nothing is ranked.
        k: candidates of a query.
    """
    image_embeds, _ = embedder.images(items, regions=False)
    own = CaptionPairs.of([item.captions for item in items])
    prefix = f'retrieval/{mode}'
    text_embeds = add_retrieval(report, prefix, embedder, image_embeds, own, mode, KS)
    add_mean_recall(report, prefix, KS)
    if scorer is not None:
        from .ranked_retrieval import add_ranked_retrieval

        embeds, prefix = (image_embeds, text_embeds), f'retrieval_ranked/{mode}'
        add_ranked_retrieval(
            report, prefix, embedder, scorer, items, own, *embeds, mode, k, KS
        )
        add_mean_recall(report, prefix, KS)


def add_retrieval(
    report: Report,
    prefix: str,
    embedder: Embedder,
    image_embeds: Tensor,
    captions: Sequence[Sequence[str]] | CaptionPairs,
    mode: str,
    ks: Sequence[int] = (1,),
) -> Tensor:
    """Add i2t and t2i recalls to a report.

    - i2t: a query per image; the gallery is every distinct caption once; right if
      one of the image's own captions comes before all that are not its own.
    - t2i: a query per caption (equal ones of two images are two queries); right if
      an image with that very caption comes before all without it.

    How many captions belong to several images is counted as
    ``PREFIX/shared_captions``.

    Args:
        report: gets ``PREFIX/{i2t,t2i}``, and ``...@k`` for other k than 1.
        prefix: of the names.
        embedder: for the captions.
        image_embeds: (B, D), L2-normalised.
        captions: B lists of at least one caption, or what :class:`CaptionPairs` makes
            of them.
        mode: of the texts.
        ks: R@k for each k.

    Returns:
        (T, D) embeddings of the distinct captions.
    """
    own = captions if isinstance(captions, CaptionPairs) else CaptionPairs.of(captions)
    text_embeds = embedder.texts(own.texts, mode)
    i2t = match_ranks(image_embeds, text_embeds, own.images, own.rows)
    t2i = match_ranks(text_embeds, image_embeds, own.rows, own.images)
    add_recalls(report, prefix, i2t, t2i[own.text_of], ks)
    report.counts[f'{prefix}/shared_captions'] = own.num_shared
    return text_embeds
