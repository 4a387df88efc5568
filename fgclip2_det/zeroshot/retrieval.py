"""Image-text retrieval."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class CaptionPairs:
    """Which captions belong to which images.

    Captions are equal if they are so but for case, which the tokenizer drops.

    Attributes:
        texts: T distinct captions.
        images, rows: (P,) int64; image ``images[p]`` has the caption ``rows[p]``. No
            pair twice.
        text_of: (Q,) rows of the captions as they were given, with repeats.
    """

    texts: list[str]
    images: Tensor
    rows: Tensor
    text_of: Tensor

    @classmethod
    def of(cls, captions: Sequence[Sequence[str]]) -> CaptionPairs:
        """Pairs of B lists of at least one caption."""
        rows: dict[str, int] = {}
        pairs = [
            (i, rows.setdefault(caption.lower(), len(rows)))
            for i, group in enumerate(captions)
            for caption in group
        ]
        text_of = torch.tensor([text for _, text in pairs])
        images, texts = torch.tensor(list(dict.fromkeys(pairs))).unbind(1)
        return cls(list(rows), images, texts, text_of)

    @property
    def num_shared(self) -> int:
        """Captions of several images."""
        return int((torch.bincount(self.rows) > 1).sum())


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


def add_recalls(
    report: Report, prefix: str, i2t: Tensor, t2i: Tensor, ks: Sequence[int]
) -> None:
    """Add ``PREFIX/{i2t,t2i}`` of the ranks of images and of captions, ``...@k``."""
    for direction, ranks in (('i2t', i2t), ('t2i', t2i)):
        for k in ks:
            report.add(_name(prefix, direction, k), ranks, k)


def add_mean_recall(report: Report, prefix: str, ks: Sequence[int]) -> None:
    """Add ``PREFIX/mean_recall``, the mean of the recalls of both directions; its
    denominator is the number of all queries."""
    names = [_name(prefix, direction, k) for direction in ('i2t', 't2i') for k in ks]
    recalls = [report.metrics[name] for name in names]
    shares = {name.partition('@')[0]: report.denominators[name] for name in names}
    report.metrics[f'{prefix}/mean_recall'] = sum(recalls) / len(recalls)
    report.denominators[f'{prefix}/mean_recall'] = sum(shares.values())


def _name(prefix: str, direction: str, k: int) -> str:
    return f'{prefix}/{direction}' + ('' if k == 1 else f'@{k}')
