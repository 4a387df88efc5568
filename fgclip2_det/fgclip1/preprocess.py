"""Preprocessing of images into patches, as FG-CLIP 1's reference does it.

RGB -> squashed to a square by PIL (bicubic) -> (x / 255 - mean) / std with CLIP's
values -> patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fgclip2_det.fgclip1.squares import CLIP_MEAN, CLIP_STD, squash
from fgclip2_det.fgclip2.image import ImageLike, load_image
from fgclip2_det.fgclip2.preprocess import ImageBatch, patchify


def preprocess_square(
    images: ImageLike | Sequence[ImageLike], grid_side: int, patch_size: int
) -> ImageBatch:
    """Batch of patches of one image or of several, each on the same square grid.

    Args:
        images: one image or B images, each as ``load_image`` takes it.
        grid_side: patches per side.
        patch_size: pixels per patch side.

    Returns:
        Batch with N = grid_side ** 2 patches per image and no padding.

    Raises:
        ValueError: if there is no image, or one cannot be read.

    Example:
        >>> preprocess_square(Image.new('RGB', (640, 480)), 14, 16).pixel_values.shape
        torch.Size([1, 196, 768])
    """
    several: Sequence[Any] = images if isinstance(images, list | tuple) else [images]
    loaded = [load_image(image) for image in several]
    if not loaded:
        raise ValueError('preprocess needs at least one image, got an empty list')
    side = grid_side * patch_size
    squashed = [squash(image, side) for image in loaded]
    pixels = torch.from_numpy(np.stack(squashed)).permute(0, 3, 1, 2)  # (B, 3, H, W)
    patches = patchify(clip_normalize(pixels.float() / 255), patch_size)
    return ImageBatch(
        pixel_values=patches,
        patch_mask=torch.ones(patches.shape[:2], dtype=torch.bool),
        grid_sizes=torch.tensor([[grid_side, grid_side]] * len(loaded)),
        image_sizes=torch.tensor([(i.height, i.width) for i in loaded]),
    )


def clip_normalize(pixels: Tensor) -> Tensor:
    """(B, 3, H, W) RGB in 0 to 1, minus CLIP's mean, over its standard deviation."""
    mean, std = (
        torch.tensor(v, dtype=pixels.dtype, device=pixels.device)[:, None, None]
        for v in (CLIP_MEAN, CLIP_STD)
    )
    return (pixels - mean) / std
