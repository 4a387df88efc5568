"""Which captions belong to which images, and recalls of both directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .report import Report

KS = (1, 5, 10)  # recalls that are reported
RANKED = 128  # candidates of R2D2's configuration of Flickr30k-CNA


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
