"""Tokens of regions that a frozen tower reads once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b

import torch
from torch import Tensor

from fgclip2_det.fgclip2 import ImageBatch
from pretrain.data.collate import AlignmentBatch
from pretrain.r2d2.token_pairs import image_rows

MAX_VALUES = 1 << 27  # of tokens, 0.5 GB in float32
Read = Callable[[ImageBatch, Sequence[Tensor]], list[tuple[Tensor, Tensor]]]


class KeptRegions:
    """Tokens and embeddings of an image's regions, kept while there is room.

    An image is known by its patches and its boxes: one that is cut or turned anew is
    read anew, and what is kept of the others is then of no use.

    Args:
        max_values: numbers that are kept; images beyond them are read every time.
    """

    def __init__(self, max_values: int = MAX_VALUES) -> None:
        self.max_values = max_values
        self._kept: dict[bytes, tuple[Tensor, Tensor]] = {}
        self._num_values = 0

    def __call__(self, batch: AlignmentBatch, read: Read) -> tuple[Tensor, Tensor]:
        """Tokens (K, N, W) and embeddings (K, D) of all regions of a batch.

        Args:
            batch: B images.
            read: makes them, of some images and the boxes of each, image by image;
                the same at every call.
        """
        keys = [_key(batch, row) for row in range(len(batch.bboxes))]
        found = {key: self._kept[key] for key in keys if key in self._kept}
        first = {key: row for row, key in reversed([*enumerate(keys)])}
        new = sorted(row for key, row in first.items() if key not in found)
        if new:
            images = image_rows(batch.images, torch.tensor(new))
            parts = read(images, [batch.bboxes[row] for row in new])
            for row, part in zip(new, parts, strict=True):
                found[keys[row]] = part
                self._keep(keys[row], part)
        tokens, embeds = zip(*(found[key] for key in keys), strict=True)
        return torch.cat(tokens), torch.cat(embeds)

    def _keep(self, key: bytes, part: tuple[Tensor, Tensor]) -> None:
        size = sum(x.numel() for x in part)
        if self._num_values + size <= self.max_values:
            self._num_values += size
            # a copy: a view would keep the other images' alive
            self._kept[key] = part[0].clone(), part[1].clone()


def _key(batch: AlignmentBatch, row: int) -> bytes:
    """Digest of all that an image's tokens depend on."""
    images = batch.images
    digest = blake2b(digest_size=16)
    pixels = images.pixel_values[row][images.patch_mask[row]]  # without padding
    parts = [pixels, images.grid_sizes[row], images.image_sizes[row]]
    if images.windows is not None:
        parts.append(images.windows[row])
    for part in (*parts, batch.bboxes[row]):
        digest.update(part.contiguous().cpu().numpy().tobytes())
    return digest.digest()
