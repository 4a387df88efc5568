"""Embeddings of images and texts as unit vectors, each computed once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Literal, overload

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from fgclip2_det.fgclip2 import DualEncoder, ImageBatch, load_image, separable_roi_align
from fgclip2_det.fgclip2.image import describe_sizes, read_header
from fgclip2_det.io.model_digests import encoder_digest
from fgclip2_det.vocabulary import Vocabulary
from fgclip2_det.vocabulary.embedding import text_batch

from .images import ImageItem

if TYPE_CHECKING:
    from .pair_scores import PairScorer


class Embedder:
    """Batched embeddings of images, regions and texts for an evaluation.

    An image has its own patch budget, whichever images share its batch, so results do
    not depend on the order. Nothing is skipped: an image or text that cannot be encoded
    is an error.

    Args:
        encoder: with both towers and a tokenizer; None in a subclass that encodes
            without one.
        max_num_patches: patches per image; 'auto' as in training.
        image_batch: images at once.
        text_batch: texts at once; None: what suits the device.
        progress: show bars on a terminal.

    Attributes:
        pair_scorer: ranks what the cosines find best, where a benchmark has a ranking;
            None: there is none.

    Example:
        >>> embedder = Embedder(FGCLIP2.from_size('tiny'))
        >>> embedder.texts(['red circle', '红色圆形', 'Red circle'], 'box').shape
        torch.Size([3, 128])
    """

    def __init__(
        self,
        encoder: DualEncoder | None,
        max_num_patches: int | str = 'auto',
        image_batch: int = 16,
        text_batch: int | None = None,
        progress: bool = True,
    ) -> None:
        self._encoder, self.max_num_patches = encoder, max_num_patches
        self.image_batch, self.text_batch = image_batch, text_batch
        self.progress = progress
        self.pair_scorer: PairScorer | None = None
        self.num_truncated: Counter[str] = Counter()  # texts that were cut, by mode

    @classmethod
    def of(
        cls,
        encoder: DualEncoder | Embedder,
        max_num_patches: int | str = 'auto',
        progress: bool = True,
    ) -> Embedder:
        """An embedder around an encoder; an embedder itself is left as it is."""
        if isinstance(encoder, Embedder):
            return encoder
        return cls(encoder, max_num_patches, progress=progress)

    @property
    def encoder(self) -> DualEncoder:
        """The encoder; ValueError without one."""
        if self._encoder is None:
            raise ValueError(f'{type(self).__name__} has no encoder')
        return self._encoder

    def encoder_digest(self) -> str | None:
        """SHA-256 of weights and settings, see :func:`.model_digests.encoder_digest`;
        None without an encoder."""
        return encoder_digest(self.encoder, self.encoder.settings())

    @property
    def device(self) -> torch.device:
        """Where embeddings are."""
        return self.encoder.logit_scale.device

    @property
    def dims(self) -> int:
        """D, the width of embeddings."""
        return self.encoder.embed_dims

    # ------------------------------------------------------------------- texts
    @torch.no_grad()
    def texts(self, texts: Sequence[str], mode: str) -> Tensor:
        """Text embeddings; texts equal but for case are encoded once.

        Args:
            texts: T texts.
            mode: 'short', 'box' or 'long'. Longer texts are cut, and counted in
                ``num_truncated``.

        Returns:
            (T, D) float32, L2-normalised, on the encoder's device.

        Raises:
            ValueError: if an embedding is not finite.
        """
        rows: dict[str, int] = {}
        index = [rows.setdefault(text.lower(), len(rows)) for text in texts]
        unique = list(rows)
        embeds = []
        size = self.text_batch or text_batch(self.device)
        with self.bar(f'{mode} texts', len(unique)) as bar:
            for start in range(0, len(unique), size):
                part = unique[start : start + size]
                embeds.append(self._encode_texts(part, mode))
                bar.update(len(part))
        table = torch.cat([torch.zeros(0, self.dims, device=self.device), *embeds])
        return table[torch.tensor(index, dtype=torch.long, device=table.device)]

    def names(
        self,
        names: Sequence[str | Sequence[str]],
        templates: str | Sequence[str] = 'raw',
    ) -> Tensor:
        """Class names to unit vectors: the mean over templates and aliases.

        Args:
            names: C names, or lists of aliases.
            templates: as of :class:`~fgclip2_det.Vocabulary`.

        Returns:
            (C, D) float32, L2-normalised, on the encoder's device.

        Raises:
            ValueError: what a vocabulary refuses, such as equal names.
        """
        vocabulary = Vocabulary(names, templates, check=False)
        return vocabulary.embed(self.encoder).float().to(self.device)

    def _encode_texts(self, texts: Sequence[str], mode: str) -> Tensor:
        ids = self.encoder.tokenize(texts, mode)  # (T, L)
        tokenizer, length = self.encoder.tokenizer, ids.shape[1]
        if tokenizer is None:
            raise ValueError('the encoder has no tokenizer; load it with one')
        # only a text without padding may have been cut
        full = (ids[:, -1] == tokenizer.eos_id).nonzero()[:, 0].tolist()
        self.num_truncated[mode] += sum(
            tokenizer.count(texts[int(i)]) > length for i in full
        )
        embeds = _unit(self.encoder.encode_text(ids, mode))
        _check_finite(embeds, [f'text {text!r}' for text in texts])
        return embeds

    # ------------------------------------------------------------------ images
    @overload
    def images(
        self,
        items: Sequence[ImageItem],
        whole: Literal[True] = True,
        regions: Literal[True] = True,
    ) -> tuple[Tensor, Tensor]: ...

    @overload
    def images(
        self,
        items: Sequence[ImageItem],
        whole: Literal[False],
        regions: Literal[True] = True,
    ) -> tuple[None, Tensor]: ...

    @overload
    def images(
        self,
        items: Sequence[ImageItem],
        whole: Literal[True] = True,
        *,
        regions: Literal[False],
    ) -> tuple[Tensor, None]: ...

    @torch.no_grad()
    def images(
        self, items: Sequence[ImageItem], whole: bool = True, regions: bool = True
    ) -> tuple[Tensor | None, Tensor | None]:
        """Embeddings of images and of the boxes in them, in one pass of the tower.

        Args:
            items: B images with K boxes in all.
            whole: compute the global embeddings.
            regions: compute the region embeddings.

        Returns:
            (B, D) global and (K, D) region embeddings in the order of the items,
            float32, L2-normalised, on the encoder's device; None for those that are
            not computed.

        Raises:
            ValueError: naming the file: unreadable, of another size than stated, or
                with an embedding that is not finite.
        """
        parts: tuple[list[Tensor], list[Tensor]] = ([], [])
        with self.bar('images', len(items)) as bar:
            for group, images, budget in self.batches(items):
                batch = self.encoder.preprocess(images, budget)
                encoded = self._encode_images(group, batch, whole, regions)
                for part, embeds in zip(parts, encoded, strict=True):
                    part.extend(embeds)
                bar.update(len(group))
        empty = torch.zeros(0, self.dims, device=self.device)
        global_embeds, region_embeds = (torch.cat([empty, *part]) for part in parts)
        return global_embeds if whole else None, region_embeds if regions else None

    @torch.no_grad()
    def dense_maps(self, items: Sequence[ImageItem]) -> Iterator[Tensor]:
        """Dense maps, image by image, for evaluations of every place of an image.

        Yields:
            (D, h, w) float32, L2-normalised over D, of each item in turn; h and w in
            patches.

        Raises:
            ValueError: as :meth:`images`.
        """
        with self.bar('images', len(items)) as bar:
            for group, images, budget in self.batches(items):
                batch = self.encoder.preprocess(images, budget)
                dense = self.encoder.dense_features(batch)
                for item, features in zip(group, dense, strict=True):
                    unit = F.normalize(features.float(), dim=0)
                    if not unit.isfinite().all():
                        raise ValueError(
                            f'the dense map of {item.path} is not finite; the '
                            'checkpoint is damaged or its training diverged'
                        )
                    yield unit
                bar.update(len(group))

    def name_maps(
        self, items: Sequence[ImageItem], text_embeds: Tensor
    ) -> Iterator[Tensor]:
        """How well every place of an image fits every name, image by image.

        Args:
            items: B images.
            text_embeds: (T, D), L2-normalised.

        Yields:
            (T, h, w) cosines of each item in turn.
        """
        for dense in self.dense_maps(items):
            yield torch.einsum('td,dhw->thw', text_embeds.to(dense), dense)

    def batches(
        self, items: Sequence[ImageItem]
    ) -> Iterator[tuple[list[ImageItem], list[Image.Image], int | str]]:
        """Neighbours of equal budget, at most ``image_batch`` of them, with the images
        and their budget."""
        group, images = [], []
        current: int | str = self.max_num_patches
        for item in items:
            image = load_item(item)
            budget = self.max_num_patches
            if budget == 'auto':
                budget = self.encoder.image_budget(*image.size)
            if group and (budget != current or len(group) == self.image_batch):
                yield group, images, current
                group, images = [], []
            current = budget
            group.append(item)
            images.append(image)
        if group:
            yield group, images, current

    def _encode_images(
        self, items: Sequence[ImageItem], batch: ImageBatch, whole: bool, regions: bool
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Global (1, D) and region (n, D) embeddings per image.

        The same as ``encode_image`` and ``region_features``, but the tower runs once.
        """
        whole_embeds, maps = self.encoder.encode(batch, whole, regions)
        globals_, pooled = [], []
        if whole_embeds is not None:
            embeds = _unit(whole_embeds)
            _check_finite(embeds, [f'image {item.path}' for item in items])
            globals_ = list(embeds.split(1))
        if maps is not None:
            sizes = batch.image_sizes.tolist()
            for item, features, size in zip(items, maps, sizes, strict=True):
                pooled.append(_pool(item, features, size))
        return globals_, pooled

    def bar(self, title: str, total: int) -> tqdm:
        """A progress bar, shown on a terminal alone."""
        hidden = None if self.progress else True  # None: on a terminal
        return tqdm(desc=title, total=total, disable=hidden, leave=False)


def load_item(item: ImageItem) -> Image.Image:
    """The image; ValueError naming the file if it is unreadable or of another size."""
    image = load_image(item.path)
    if item.size is not None and image.size != tuple(item.size):
        raise ValueError(
            f'image {item.path}: {describe_sizes(read_header(item.path), item.size)}; '
            'boxes would be in the wrong place'
        )
    return image


def _pool(item: ImageItem, features: Tensor, size: Sequence[int]) -> Tensor:
    """(n, D) unit region embeddings of one image's dense map (h, w, D)."""
    (h, w, _), (height, width) = features.shape, size
    numbers = [float(v) for v in chain(*item.bboxes)]
    bboxes = torch.tensor(numbers, device=features.device)
    scale = bboxes.new_tensor([w / width, h / height] * 2)
    pooled = separable_roi_align(features, bboxes.reshape(-1, 4) * scale)[:, 0, 0]
    embeds = _unit(pooled)
    _check_finite(embeds, [f'box {list(b)} of image {item.path}' for b in item.bboxes])
    return embeds


def _unit(embeds: Tensor) -> Tensor:
    return F.normalize(embeds.float(), dim=-1)


def _check_finite(embeds: Tensor, names: Sequence[str]) -> None:
    bad = ~embeds.isfinite().all(1)
    if bad.any():
        raise ValueError(
            f'the embedding of {names[int(bad.nonzero()[0])]} is not finite; the '
            'checkpoint is damaged or its training diverged'
        )
