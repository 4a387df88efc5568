"""Image-text matching: does a text describe an image? ROC AUC and accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fgclip2_det.io import InputError

from .ccmb_files import CcmbPair
from .embedder import Embedder
from .images import ImageItem, check_images_exist, take_first
from .report import Report

_BLOCK = 1 << 14  # pairs whose cosines are computed at once


@dataclass(frozen=True)
class MatchingPairs:
    """Labelled pairs of images and texts.

    Attributes:
        items: B images; their captions are the texts that match.
        texts: T distinct texts.
        pairs: (P, 2) int64, rows of both.
        labels: (P,) bool, True = match.
    """

    items: list[ImageItem]
    texts: list[str]
    pairs: Tensor
    labels: np.ndarray

    @classmethod
    def of(
        cls, lines: Sequence[CcmbPair], image_root: Path, num_images: int | None = None
    ) -> MatchingPairs:
        """Pairs of the first images of a file.

        Args:
            lines: of the file.
            image_root: folder of the images.
            num_images: the first n images alone; None takes all.

        Raises:
            InputError: if all pairs match or none does; images that are missing.
        """
        names = take_first(
            list(dict.fromkeys(line.image for line in lines)), num_images
        )
        images = {name: row for row, name in enumerate(names)}
        chosen = [line for line in lines if line.image in images]
        texts: dict[str, int] = {}
        pairs = [
            (images[line.image], texts.setdefault(line.text.lower(), len(texts)))
            for line in chosen
        ]
        labels = np.array([line.label for line in chosen])
        _check_both(labels)
        right: dict[str, list[str]] = {name: [] for name in names}
        for line in chosen:
            if line.label:
                right[line.image].append(line.text)
        items = [
            # a text of no pair is what the oracle knows of an image without a match
            ImageItem(image_root / name, captions=own or [f'nothing on {name}'])
            for name, own in right.items()
        ]
        check_images_exist(items, image_root)
        return cls(items, list(texts), torch.tensor(pairs), labels)

    @property
    def counts(self) -> dict[str, int]:
        """Images, pairs, and those of each label; pairs that have both labels."""
        positives, negatives = (
            {*map(tuple, self.pairs[torch.from_numpy(chosen)].tolist())}
            for chosen in (self.labels, ~self.labels)
        )
        return {
            'images': len(self.items),
            'pairs': len(self.labels),
            'positives': int(self.labels.sum()),
            'negatives': int((~self.labels).sum()),
            'contradictory': len(positives & negatives),
        }


def evaluate_matching(
    report: Report, embedder: Embedder, pairs: MatchingPairs, mode: str
) -> None:
    """Add AUC and accuracy of the cosines, and with a scorer those of its probability.

    Args:
        report: gets ``matching/MODE/{auc,accuracy}``, see :func:`add_matching`; with a
            scorer also ``matching_ranked/MODE/{auc,accuracy,accuracy_at_half}``, the
            last at a probability of 0.5.
        embedder: of images and texts, with its ``pair_scorer``.
        pairs: with their labels.
        mode: of the texts.
    """
    image_embeds, _ = embedder.images(pairs.items, regions=False)
    text_embeds = embedder.texts(pairs.texts, mode)
    scores = [torch.zeros(0)]
    for part in pairs.pairs.split(_BLOCK):
        images, texts = part.to(image_embeds.device).unbind(1)
        scores.append((image_embeds[images] * text_embeds[texts]).sum(1).cpu())
    halves = pairs.pairs[:, 0].numpy() % 2  # an image's pairs are in one half
    prefix = f'matching/{mode}'
    add_matching(report, prefix, torch.cat(scores).numpy(), pairs.labels, halves)
    if (scorer := embedder.pair_scorer) is None:
        return
    found = scorer.scores(embedder, pairs.items, pairs.texts, mode, pairs.pairs)
    prefix, ranked = f'matching_ranked/{mode}', found.numpy()
    add_matching(report, prefix, ranked, pairs.labels, halves)
    right = (ranked > 0.5) == pairs.labels
    _add_share(report, f'{prefix}/accuracy_at_half', right)


def add_matching(
    report: Report,
    prefix: str,
    scores: np.ndarray,
    labels: np.ndarray,
    halves: np.ndarray,
) -> None:
    """Add ``PREFIX/auc`` and ``PREFIX/accuracy``.

    - auc: chance that a match scores above another pair, ties counted half; its
      denominator is the number of such couples.
    - accuracy: share of pairs on the right side of a threshold. The pairs of one half
      of the images are judged by the threshold that is best on the other half, so that
      no pair chooses its own. Not there if one half has no pair.

    Args:
        report: gets both, in percent.
        prefix: of the names.
        scores: (P,), higher = match.
        labels: (P,) bool, of both kinds.
        halves: (P,) 0 or 1.
    """
    from fgclip2_det.evaluation.few_names.measures import auroc

    _check_both(labels)
    couples = int(labels.sum()) * int((~labels).sum())
    report.metrics[f'{prefix}/auc'] = 100 * auroc(scores, labels)
    report.denominators[f'{prefix}/auc'] = couples
    second = halves == 1
    right = np.zeros(0, bool)
    if second.any() and not second.all():
        right = np.zeros(len(labels), bool)
        for half in (second, ~second):
            threshold = best_threshold(scores[~half], labels[~half])
            right[half] = (scores[half] > threshold) == labels[half]
    _add_share(report, f'{prefix}/accuracy', right)


def best_threshold(scores: np.ndarray, labels: np.ndarray) -> float:
    """The threshold above which most labels are right; the lowest of several.

    Args:
        scores: (n,), n >= 1.
        labels: (n,) bool.

    Returns:
        Half-way between two neighbouring scores, or minus or plus infinity.
    """
    values, which = np.unique(scores.astype(np.float64), return_inverse=True)
    gains = np.bincount(which, np.where(labels, -1, 1))  # of leaving a value below
    place = int(np.concatenate([[0], gains.cumsum()]).argmax())
    ends = np.concatenate([[-np.inf], values, [np.inf]])
    return float((ends[place] + ends[place + 1]) / 2)


def _add_share(report: Report, name: str, right: np.ndarray) -> None:
    report.denominators[name] = len(right)
    if len(right):
        report.metrics[name] = 100 * float(right.mean())


def _check_both(labels: np.ndarray) -> None:
    positives = int(labels.sum())
    if not 0 < positives < len(labels):
        raise InputError(
            f'of {len(labels):,} pairs {positives:,} match; AUC is not defined unless '
            'some match and some do not, take the whole file'
        )
