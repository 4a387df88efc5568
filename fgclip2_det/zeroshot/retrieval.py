"""Image-text retrieval."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from fgclip2_det.fgclip2 import DualEncoder

from .caption_files import read_captions
from .embedder import Embedder
from .images import ImageItem, check_images_exist, take_first
from .metrics import match_ranks
from .report import Report

MODES = ('short', 'long')


def evaluate_retrieval(
    encoder: DualEncoder | Embedder,
    ann_file: str | os.PathLike,
    image_root: str | os.PathLike,
    mode: str = 'short',
    num_images: int | None = None,
    max_num_patches: int | str = 'auto',
    progress: bool = True,
) -> dict[str, dict]:
    """R@1, R@5 and R@10 of images and captions, in percent.

    Keys are ``retrieval/MODE/{i2t,t2i}``, and ``.../{i2t,t2i}@5`` and ``@10``. See
    :func:`add_retrieval` for what is right.

    Args:
        encoder: with both towers and a tokenizer, or an embedder around one (its
            patch budget and bars then count).
        ann_file: lines ``image_path<TAB>caption``, UTF-8; an image may have several.
        image_root: folder that the paths start from.
        mode: 'short' (64 tokens) or 'long' (196).
        num_images: the first n images alone; None takes all.
        max_num_patches: patches per image; 'auto' as in training.
        progress: show bars on a terminal.

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
    items = [ImageItem(image_root / name) for name in chosen]
    check_images_exist(items, image_root)
    embedder = Embedder.of(encoder, max_num_patches, progress)
    image_embeds, _ = embedder.images(items, regions=False)
    report = Report()
    report.counts['images'] = len(items)
    texts = [captions[name] for name in chosen]
    prefix = f'retrieval/{mode}'
    add_retrieval(report, prefix, embedder, image_embeds, texts, mode, ks=(1, 5, 10))
    report.counts[f'truncated_texts/{mode}'] = embedder.num_truncated[mode]
    return report.to_dict()


def add_retrieval(
    report: Report,
    prefix: str,
    embedder: Embedder,
    image_embeds: Tensor,
    captions: Sequence[Sequence[str]],
    mode: str,
    ks: Sequence[int] = (1,),
) -> None:
    """Add i2t and t2i recalls to a report.

    - i2t: a query per image; the gallery is every distinct caption once; right if
      one of the image's own captions comes before all that are not its own.
    - t2i: a query per caption (equal ones of two images are two queries); right if
      an image with that very caption comes before all without it.

    Captions are equal if they are so but for case, which the tokenizer drops. How
    many belong to several images is counted as ``PREFIX/shared_captions``.

    Args:
        report: gets ``PREFIX/{i2t,t2i}``, and ``...@k`` for other k than 1.
        prefix: of the names.
        embedder: for the captions.
        image_embeds: (B, D), L2-normalised.
        captions: B lists of at least one caption.
        mode: of the texts.
        ks: R@k for each k.
    """
    rows: dict[str, int] = {}
    pairs = [
        (i, rows.setdefault(caption.lower(), len(rows)))
        for i, group in enumerate(captions)
        for caption in group
    ]
    text_of = torch.tensor([text for _, text in pairs])  # (P,) with repeats
    distinct = torch.tensor(list(dict.fromkeys(pairs)))  # (P', 2)
    images, texts = distinct.unbind(1)
    text_embeds = embedder.texts(list(rows), mode)
    i2t = match_ranks(image_embeds, text_embeds, images, texts)
    t2i = match_ranks(text_embeds, image_embeds, texts, images)[text_of]
    for direction, ranks in (('i2t', i2t), ('t2i', t2i)):
        for k in ks:
            suffix = '' if k == 1 else f'@{k}'
            report.add(f'{prefix}/{direction}{suffix}', ranks, k)
    shared = torch.bincount(texts) > 1
    report.counts[f'{prefix}/shared_captions'] = int(shared.sum())
