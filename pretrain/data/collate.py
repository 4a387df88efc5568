"""Collation of samples into a batch of tensors."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_world_size
from mmengine.registry import FUNCTIONS
from torch import Tensor

from fgclip2_det.fgclip1 import FGCLIP1Tokenizer
from fgclip2_det.fgclip1.preprocess import preprocess_square
from fgclip2_det.fgclip2 import FGCLIP2Tokenizer, ImageBatch, preprocess
from fgclip2_det.fgclip2.checkpoint import resolve_folder
from fgclip2_det.fgclip2.model import ASSETS
from fgclip2_det.fgclip2.preprocess import BUDGETS, patch_budget
from pretrain.data.records import Sample

ABSENT = -1
_CACHED_IDS = 4_000_000  # token ids remembered per length, 32 MB
# set by torchrun and by MMEngine's launchers, also in workers that are spawned
_WORLD_SIZES = ('WORLD_SIZE', 'OMPI_COMM_WORLD_SIZE', 'SLURM_NTASKS')


@dataclass
class AlignmentBatch:
    """B images with their captions and K regions; T distinct region texts.

    Attributes:
        images: patches of the images.
        short_ids: (B, 64) int64, of the short captions.
        long_ids: (B, 196) int64, of the long captions.
        short_keys: (B,) int64; equal keys are equal texts, in every process. -1
            where an image has no such caption; its ids are those of no text.
        long_keys: (B,) int64, likewise.
        bboxes: B tensors (n, 4), float32 xyxy in pixels of the original images; K
            regions in all, in this order.
        box_ids: (T, 64) int64: phrases, hard positives and negatives, each once.
        box_keys: (T,) int64.
        phrase_index: (K,) int64 into T.
        hard_index: (H, 1 + M) int64 into T: a positive and its negatives, -1 where
            there are fewer than M.
        hard_region: (H,) int64 into K, the region of each row.
        true_index: (K, 2) int64 into T: the short and the long expression of the
            region, -1 where it is missing or not among the T texts.
        true_keys: (K, 2) int64: keys of the same, -1 where missing. Unlike
            ``true_index`` they also find texts that only other processes hold.
        languages: B of 'en', 'zh'.
        num_bad: records skipped while drawing this batch; after
            ``AlignmentDataPreprocessor`` those of the whole run so far.
        budget: patches per image that the batch was resized to.
        original_images: all of them, flat uint8 (their sizes are in ``images``),
            or None where they are not needed.
        scenes: B of ``Sample.window``, what ``images.windows`` are made from.
        image_keys: (B,) int64; equal keys are equal images, in every process. -1 where
            it is not known.
    """

    images: ImageBatch
    short_ids: Tensor
    long_ids: Tensor
    short_keys: Tensor
    long_keys: Tensor
    bboxes: list[Tensor]
    box_ids: Tensor
    box_keys: Tensor
    phrase_index: Tensor
    hard_index: Tensor
    hard_region: Tensor
    true_index: Tensor | None = None
    true_keys: Tensor | None = None
    languages: list[str] | None = None
    num_bad: int = 0
    budget: int = BUDGETS[-1]
    original_images: Tensor | None = None
    scenes: list[tuple[int, float, float] | None] | None = None
    image_keys: Tensor | None = None

    def __len__(self) -> int:
        return len(self.short_ids)

    def to(
        self, device: str | torch.device, non_blocking: bool = False
    ) -> 'AlignmentBatch':
        """Batch on a device; the original images stay where they are."""
        moved = self._map(lambda x: x.to(device, non_blocking=non_blocking))
        return replace(moved, original_images=self.original_images)

    def pin_memory(self) -> 'AlignmentBatch':
        """Batch in page-locked memory, as requested by the DataLoader."""
        return replace(
            self._map(Tensor.pin_memory), original_images=self.original_images
        )

    def _map(self, function: Callable[[Tensor], Tensor]) -> 'AlignmentBatch':
        boxes = function(torch.cat(self.bboxes)).split([len(b) for b in self.bboxes])
        changes = _map_fields(self, function) | dict(bboxes=list(boxes))
        images = replace(self.images, **_map_fields(self.images, function))
        return replace(self, **changes, images=images)

    # A worker hands over each tensor through a file descriptor of its own, and B
    # lists of boxes would use them up: they are sent as one.
    def __getstate__(self) -> dict:
        counts = [len(boxes) for boxes in self.bboxes]
        return self.__dict__ | dict(bboxes=(torch.cat(self.bboxes), counts))

    def __setstate__(self, state: dict) -> None:
        boxes, counts = state['bboxes']
        self.__dict__.update(state, bboxes=list(boxes.split(counts)))


class AlignmentCollate:
    """Makes an :class:`AlignmentBatch` of samples.

    With ``max_num_patches='auto'`` all images of a batch are resized to the budget of
    the largest one (FG-CLIP 2, section 3.1). Other processes may hold a larger one, so
    the original images are kept in the batch, and ``AlignmentDataPreprocessor`` resizes
    again if so.

    Args:
        tokenizer: folder with ``tokenizer.json`` or ``tokenizer.model``, or hub id; the
            package's small one when None (of bytes for version 1).
        max_num_patches: 'auto', or patches per image.
        short_length: ids of short captions and of region texts; None: 64, or 77 for
            version 1.
        long_length: ids of long captions; None: 196 or 248.
        keep_images: whether the batch keeps the original images; None: if there are
            several processes and the budget could still grow.
        version: 1 squashes images to a square of ``grid_side`` x ``grid_side`` patches
            and tokenizes as CLIP.
        grid_side: of version 1: 14, or 24 for large.
        patch_size: of version 1: 16, or 14 pixels for large.

    In a config, ``collate_fn=dict(type='AlignmentCollate', tokenizer=...)``.

    Example:
        >>> batch = AlignmentCollate()([data[0], data[1]])
        >>> batch.images.pixel_values.shape, batch.box_ids.shape
        (torch.Size([2, 256, 768]), torch.Size([23, 64]))
    """

    def __init__(
        self,
        tokenizer: str | os.PathLike | None = None,
        max_num_patches: int | str = 'auto',
        short_length: int | None = None,
        long_length: int | None = None,
        keep_images: bool | None = None,
        version: int = 2,
        grid_side: int = 14,
        patch_size: int = 16,
    ) -> None:
        if version not in (1, 2):
            raise ValueError(f'version must be 1 or 2, got {version!r}')
        positive = (
            isinstance(max_num_patches, int)
            and not isinstance(max_num_patches, bool)
            and max_num_patches > 0
        )
        if max_num_patches != 'auto' and not positive:
            raise ValueError(
                "max_num_patches must be 'auto' or a positive integer, got "
                f'{max_num_patches!r}'
            )
        self.square = (grid_side, patch_size) if version == 1 else None
        if self.square:
            if max_num_patches != 'auto':
                raise ValueError(
                    "max_num_patches must be 'auto' for version 1, whose images have "
                    f'grid_side ** 2 patches, got {max_num_patches!r}'
                )
            max_num_patches = grid_side**2
        engine, lengths = _tokenizer(tokenizer, version), LENGTHS[version]
        self.short_ids = _CachedIds(engine, short_length or lengths[0])
        self.long_ids = _CachedIds(engine, long_length or lengths[1])
        self.max_num_patches, self.keep_images = max_num_patches, keep_images

    def __call__(
        self, samples: Sequence[Sample] | Sequence[Sequence[Sample]]
    ) -> AlignmentBatch:
        """Batch of samples, or of lists of samples, which are joined."""
        samples = list(_flatten(samples))
        if not samples:
            raise ValueError('a batch needs at least one sample, got an empty list')
        budget: Any = self.max_num_patches
        scenes = [sample.window for sample in samples]
        if budget == 'auto':
            budget = max(patch_budget(*sample.image.size) for sample in samples)
        return AlignmentBatch(
            images=self._images(samples, budget, scenes),
            short_ids=self.short_ids([sample.short or '' for sample in samples]),
            long_ids=self.long_ids([sample.long or '' for sample in samples]),
            short_keys=_keys(sample.short for sample in samples),
            long_keys=_keys(sample.long for sample in samples),
            bboxes=[torch.from_numpy(sample.bboxes) for sample in samples],
            **self._region_texts(samples),
            languages=[sample.language for sample in samples],
            num_bad=sum(sample.num_bad for sample in samples),
            budget=budget,
            original_images=_pack(samples) if self._keeps_images(budget) else None,
            scenes=scenes,
            image_keys=_keys(sample.image_id for sample in samples),
        )

    def _images(self, samples: list[Sample], budget: int, scenes: list) -> ImageBatch:
        images = [sample.image for sample in samples]
        if self.square is None:
            return with_windows(preprocess(images, budget), scenes)
        if any(scenes):
            raise ValueError(
                'parts of scenes need FG-CLIP 2, whose grids vary; leave windows out'
            )
        return preprocess_square(images, *self.square)

    def _region_texts(self, samples: list[Sample]) -> dict[str, Tensor]:
        """The distinct texts of all regions, and who refers to which."""
        rows = [
            (phrase, positive, negatives, truths)
            for s in samples
            for phrase, positive, negatives, truths in zip(
                s.phrases, s.hard_positives, s.hard_negatives, s.true_texts, strict=True
            )
        ]
        hard = [
            (region, [row[1], *row[2]]) for region, row in enumerate(rows) if row[1]
        ]
        phrases, truths = [row[0] for row in rows], [row[3] for row in rows]
        texts = dict.fromkeys(
            [*phrases, *(text for _, group in hard for text in group)]
        )
        places: dict[str | None, int] = {
            text: place for place, text in enumerate(texts)
        }
        width = max((len(group) for _, group in hard), default=1)
        hard_index = torch.full((len(hard), width), ABSENT)
        for row, (_, group) in zip(hard_index, hard, strict=True):
            row[: len(group)] = torch.tensor([places[text] for text in group])
        true_index = [[places.get(text, ABSENT) for text in pair] for pair in truths]
        return dict(
            box_ids=self.short_ids(list(texts)),
            box_keys=_keys(texts),
            phrase_index=_index(places[phrase] for phrase in phrases),
            hard_index=hard_index,
            hard_region=_index(region for region, _ in hard),
            true_index=_index(true_index).reshape(-1, 2),
            true_keys=_keys(text for pair in truths for text in pair).reshape(-1, 2),
        )

    def _keeps_images(self, budget: int) -> bool:
        if self.max_num_patches != 'auto' or budget >= BUDGETS[-1]:
            return False
        if self.keep_images is not None:
            return self.keep_images
        sizes = [int(os.environ.get(name) or 1) for name in _WORLD_SIZES]
        return max(get_world_size(), *sizes) > 1


LENGTHS = {1: (77, 248), 2: (64, 196)}  # ids of short and of long texts, by version


def _tokenizer(name: str | os.PathLike | None, version: int) -> FGCLIP2Tokenizer:
    if version == 1:
        if name is None:
            return FGCLIP1Tokenizer.of_bytes()
        return FGCLIP1Tokenizer.from_folder(resolve_folder(name))
    folder = ASSETS if name is None else resolve_folder(name)
    return FGCLIP2Tokenizer.from_folder(folder)


@FUNCTIONS.register_module(name='AlignmentCollate')
def alignment_collate(samples: Sequence, **options) -> AlignmentBatch:
    """:class:`AlignmentCollate` with these options, which a config names.

    MMEngine calls the registered object once per batch with samples and options, so
    it must be a function; each process makes one collate object of it.
    """
    return _collate_with(**options)(samples)


@lru_cache(maxsize=8)
def _collate_with(**options) -> AlignmentCollate:
    return AlignmentCollate(**options)


def text_key(text: str | None) -> int:
    """63-bit hash of a text, the same in every process; -1 of None."""
    if text is None:
        return ABSENT
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), 'big') >> 1


class _CachedIds:
    """Token ids (T, length) of texts, each text tokenized once while it lasts."""

    def __init__(self, tokenizer: FGCLIP2Tokenizer, length: int) -> None:
        self.tokenizer, self.length = tokenizer, length
        self.rows: dict[str, Tensor] = {}

    def __call__(self, texts: list[str]) -> Tensor:
        if not texts:
            return torch.zeros(0, self.length, dtype=torch.long)
        if (len(self.rows) + len(texts)) * self.length > _CACHED_IDS:
            self.rows.clear()
        new = [text for text in dict.fromkeys(texts) if text not in self.rows]
        if new:
            self.rows.update(zip(new, self.tokenizer(new, self.length), strict=True))
        return torch.stack([self.rows[text] for text in texts])


def with_windows(
    images: ImageBatch, scenes: Sequence[tuple[int, float, float] | None]
) -> ImageBatch:
    """Images with the positions of those that are parts of a scene.

    Args:
        images: B images.
        scenes: B of ``Sample.window``, (side, u, v) or None.
    """
    if not any(scenes):
        return images
    windows = []
    for scene, (h, w) in zip(scenes, images.grid_sizes.tolist(), strict=True):
        side, u, v = scene or (0, 0.0, 0.0)
        rows, columns = max(side, h), max(side, w)
        windows.append(
            (int(u * (rows - h + 1)), int(v * (columns - w + 1)), rows, columns)
        )
    return replace(images, windows=torch.tensor(windows))


def _flatten(samples: Iterable) -> Iterable[Sample]:
    for item in samples:
        if isinstance(item, Sample):
            yield item
        else:
            yield from item


def _keys(texts: Iterable[str | None]) -> Tensor:
    return _index(text_key(text) for text in texts)


def _index(values: Iterable) -> Tensor:
    return torch.tensor(list(values), dtype=torch.long)


def _pack(samples: list[Sample]) -> Tensor:
    """The images' (h, w, 3) bytes, concatenated."""
    flat = [np.asarray(sample.image).reshape(-1) for sample in samples]
    return torch.from_numpy(np.concatenate(flat))


def _map_fields(data, function: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    values = {field.name: getattr(data, field.name) for field in fields(data)}
    return {
        name: function(value)
        for name, value in values.items()
        if isinstance(value, Tensor) and name != 'original_images'
    }
