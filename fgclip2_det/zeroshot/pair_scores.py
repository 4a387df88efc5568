"""Probabilities that images and texts match, pair by pair: of a ranker, or controls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from .controls import KINDS
from .embedder import Embedder
from .images import ImageItem


class PairScorer(ABC):
    """Gives the probability that an image and a text match.

    Attributes:
        kind: 'oracle' or 'noise' of a control, None of a model.
    """

    kind: str | None = None

    @abstractmethod
    def scores(
        self,
        embedder: Embedder,
        items: Sequence[ImageItem],
        texts: Sequence[str],
        mode: str,
        pairs: Tensor,
    ) -> Tensor:
        """Probabilities of pairs.

        Args:
            embedder: of the encoder whose tokens are read.
            items: B images.
            texts: T texts.
            mode: of the texts.
            pairs: (P, 2) int64, rows of ``items`` and of ``texts``, in any order.

        Returns:
            (P,) float32 in [0, 1], on the CPU.
        """

    def digest(self) -> str | None:
        """SHA-256 of the weights and settings; None of a control."""
        return None


class ControlScorer(PairScorer):
    """'oracle' says 1 for the captions of an image and 0 for all other texts, 'noise'
    draws at random. Neither opens an image or needs an encoder.

    Args:
        kind: 'oracle' or 'noise'.
        seed: of the noise.
    """

    def __init__(self, kind: str, seed: int = 0) -> None:
        if kind not in KINDS:
            raise ValueError(f'a control is one of {list(KINDS)}, got {kind!r}')
        self.kind = kind
        self._noise = torch.Generator().manual_seed(seed)

    def scores(
        self,
        embedder: Embedder,
        items: Sequence[ImageItem],
        texts: Sequence[str],
        mode: str,
        pairs: Tensor,
    ) -> Tensor:
        """See :class:`PairScorer`."""
        if self.kind == 'noise':
            return torch.rand(len(pairs), generator=self._noise)
        right = [{caption.lower() for caption in item.captions} for item in items]
        return torch.tensor(
            [
                float(texts[int(row)].lower() in right[image])
                for image, row in pairs.tolist()
            ]
        )
