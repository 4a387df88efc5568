"""Embedders without a model, as controls of an evaluation: an oracle, and noise."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from .embedder import Embedder
from .images import ImageItem

KINDS = ('oracle', 'noise')
_NOISE_SIDE = 16  # places a side of a dense map of noise
_MAX_PLACES = 1 << 15  # of the oracle's dense maps


class ControlEmbedder(Embedder):
    """Every text gets a random direction of its own.

    'oracle' answers with the directions of the right texts (``ImageItem.truths``,
    ``captions`` and ``truth_map``) and so reaches 100 % wherever one answer is right;
    'noise' answers at random and so stays at chance. Any other result shows a fault of
    the evaluation, not of a model. No image is opened.

    Args:
        kind: 'oracle' or 'noise'.
        seed: of the noise.
        dims: D. Random directions have cosines of some 1 / sqrt(D).

    Raises:
        ValueError: if ``kind`` is unknown.

    Example:
        >>> embedder = ControlEmbedder('oracle')
        >>> embedder.texts(['a cat'], 'box').shape
        torch.Size([1, 1024])
    """

    def __init__(self, kind: str, seed: int = 0, dims: int = 1024) -> None:
        if kind not in KINDS:
            raise ValueError(f'a control is one of {list(KINDS)}, got {kind!r}')
        super().__init__(encoder=None, progress=False)
        self.kind, self._dims = kind, dims
        self._noise = torch.Generator().manual_seed(seed)

    def encoder_digest(self) -> None:
        """None: there is no encoder."""

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return torch.device('cpu')

    @property
    def dims(self) -> int:
        """D, the width of embeddings."""
        return self._dims

    def _encode_texts(self, texts: Sequence[str], mode: str) -> Tensor:
        return torch.stack([_direction(text, self.dims) for text in texts])

    def names(
        self,
        names: Sequence[str | Sequence[str]],
        templates: str | Sequence[str] = 'raw',
    ) -> Tensor:
        """(C, D) directions of the names; of the first where a class has aliases."""
        firsts = [name if isinstance(name, str) else name[0] for name in names]
        return self.texts(firsts, 'box')

    def images(
        self, items: Sequence[ImageItem], whole: bool = True, regions: bool = True
    ) -> tuple[Any, Any]:
        """See :meth:`Embedder.images`; an image with several captions gets their mean.

        Raises:
            ValueError: for the oracle, if an item has no ``captions`` or ``truths``.
        """
        captions = [item.captions for item in items]
        truths = [item.truths for item in items]
        numbers = [len(item.bboxes) for item in items]
        global_embeds = (
            self._answer(items, captions, [1] * len(items)) if whole else None
        )
        region_embeds = self._answer(items, truths, numbers) if regions else None
        return global_embeds, region_embeds

    def dense_maps(self, items: Sequence[ImageItem]) -> Iterator[Tensor]:
        """See :meth:`Embedder.dense_maps`; the oracle's are as fine as the truth.

        A cell is one pixel in an image of up to 32,768 pixels, so the oracle is right
        everywhere. In a larger image it is a square of pixels, and the oracle may err
        where a border crosses a square. Cells without a known truth are 0.

        Raises:
            ValueError: for the oracle, if an item has no ``truth_map``.
        """
        for item in items:
            if self.kind == 'noise':
                shape = self.dims, _NOISE_SIDE, _NOISE_SIDE
                yield F.normalize(torch.randn(shape, generator=self._noise), dim=0)
            elif item.truth_map is None:
                raise ValueError(f'{item.path}: the oracle needs a truth_map')
            else:
                yield self._right_map(*item.truth_map())

    def _right_map(self, rows: Tensor, texts: Sequence[Sequence[str]]) -> Tensor:
        """(D, h, w) mean directions of the texts of (H, W) rows, -1 = none."""
        shrink = math.ceil((rows.numel() / _MAX_PLACES) ** 0.5)
        sides = [math.ceil(side / shrink) for side in rows.shape]
        down, across = (
            ((torch.arange(n) + 0.5) * (side / n)).long()
            for n, side in zip(sides, rows.shape, strict=True)
        )
        distinct, index = rows[down][:, across].unique(return_inverse=True)
        table = torch.zeros(len(distinct), self.dims)
        for place, row in enumerate(distinct.tolist()):
            if row >= 0:
                table[place] = self.texts(texts[int(row)], 'box').mean(0)
        return F.normalize(table, dim=1)[index].permute(2, 0, 1)

    def _answer(
        self,
        items: Sequence[ImageItem],
        texts: Sequence[Sequence[str | Sequence[str]]],
        sizes: Sequence[int],
    ) -> Tensor:
        """``sizes[i]`` rows for item i; several texts for one row give their mean."""
        if self.kind == 'noise':
            noise = torch.randn(sum(sizes), self.dims, generator=self._noise)
            return F.normalize(noise, dim=1)
        rows = [torch.zeros(0, self.dims)]
        for item, group, size in zip(items, texts, sizes, strict=True):
            # several captions of one image are one answer; truths are one per box
            one = size == 1 and len(group) > 1
            answers = cast('Sequence[str | Sequence[str]]', [group] if one else group)
            if len(answers) != size:
                raise ValueError(
                    f'{item.path}: the oracle needs truths for {size} rows, got '
                    f'{len(answers)}'
                )
            for right in answers:
                own = [right] if isinstance(right, str) else [*map(str, right)]
                rows.append(self.texts(own, 'box').mean(0, keepdim=True))
        return F.normalize(torch.cat(rows), dim=1)


def _direction(text: str, dims: int) -> Tensor:
    """(D,) unit vector that depends on the text alone."""
    seed = int.from_bytes(hashlib.sha256(text.lower().encode()).digest()[:7], 'big')
    random = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(dims, generator=random), dim=0)
