"""Preprocessing of images into patches, as in FG-CLIP 2's training.

RGB -> patch budget -> resize to multiples of the patch size (PIL, bilinear) ->
(x / 255 - 0.5) / 0.5 -> patches. Same numbers as the released processor, with two
differences: an explicit budget is obeyed, and a batch is padded to its longest
image only, not to the budget.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fgclip2_det.fgclip2.grids import BUDGETS, patch_budget, target_grid
from fgclip2_det.fgclip2.image import ImageLike, load_image

__all__ = [
    'BUDGETS',
    'ImageBatch',
    'load_image',
    'normalize',
    'patch_budget',
    'patchify',
    'preprocess',
    'target_grid',
    'unpatchify',
]


@dataclass
class ImageBatch:
    """Patches of B images, padded to the longest.

    Attributes:
        pixel_values: (B, N, 3 * patch * patch), in -1 to 1; padding is 0.
        patch_mask: (B, N) bool, True = real patch.
        grid_sizes: (B, 2) int64, (h, w) in patches.
        image_sizes: (B, 2) int64, (h, w) in pixels of the upright image before any
            resizing, the coordinates of boxes.
        windows: (B, 4) int64, (top, left, H, W): the patches are the part of an H x W
            grid that starts at (top, left), and get the position embeddings of that
            part. None: each image is a whole grid.
    """

    pixel_values: Tensor
    patch_mask: Tensor
    grid_sizes: Tensor
    image_sizes: Tensor
    windows: Tensor | None = None

    def __len__(self) -> int:
        return len(self.pixel_values)

    def to(
        self,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> 'ImageBatch':
        """Batch on a device; ``dtype`` is for the pixel values alone."""
        return replace(
            self,
            pixel_values=self.pixel_values.to(device=device, dtype=dtype),
            patch_mask=self.patch_mask.to(device=device),
            grid_sizes=self.grid_sizes.to(device=device),
            image_sizes=self.image_sizes.to(device=device),
            windows=None if self.windows is None else self.windows.to(device=device),
        )


def preprocess(
    images: ImageLike | Sequence[ImageLike],
    max_num_patches: int | str = 'auto',
    patch_size: int = 16,
) -> ImageBatch:
    """Batch of patches of one image or of several.

    Args:
        images: one image or B images, each as ``load_image`` takes it.
        max_num_patches: budget per image. Small images are enlarged to fill it.
            'auto' takes the largest budget of the images (:func:`patch_budget`).
        patch_size: pixels per patch side.

    Returns:
        Batch with N = the largest h * w of the batch, so one image, or several of
        equal grid, carry no padding.

    Raises:
        ValueError: if there is no image, one cannot be read, or the budget is
            neither 'auto' nor a positive integer.

    Example:
        >>> batch = preprocess(Image.new('RGB', (640, 480)))
        >>> batch.pixel_values.shape, batch.grid_sizes
        (torch.Size([1, 972, 768]), tensor([[27, 36]]))
    """
    several: Sequence[Any] = images if isinstance(images, list | tuple) else [images]
    loaded = [load_image(image) for image in several]
    if not loaded:
        raise ValueError('preprocess needs at least one image, got an empty list')
    budget: Any = max_num_patches  # checked by target_grid
    if budget == 'auto':
        budget = max(patch_budget(*image.size) for image in loaded)
    sizes = [(image.height, image.width) for image in loaded]
    grids = [target_grid(*size, budget, patch_size) for size in sizes]
    patches = [
        _to_patches(image, grid, patch_size)
        for image, grid in zip(loaded, grids, strict=True)
    ]
    counts = torch.tensor([len(patch) for patch in patches])  # (B,)
    return ImageBatch(
        pixel_values=pad_sequence(patches, batch_first=True),
        patch_mask=torch.arange(int(counts.max())) < counts[:, None],
        grid_sizes=torch.tensor(grids),
        image_sizes=torch.tensor(sizes),
    )


def normalize(pixels: Tensor) -> Tensor:
    """Map 0-255 to -1 to 1 in float32, whatever the shape."""
    return (pixels.float() / 255 - 0.5) / 0.5


def patchify(pixels: Tensor, patch_size: int = 16) -> Tensor:
    """Cut (B, C, H, W) into (B, h * w, patch * patch * C), row by row.

    Inside a patch the order is row, column, channel.

    Raises:
        ValueError: if H or W is not a multiple of ``patch_size``.
    """
    batch_size, channels, height, width = pixels.shape
    if height % patch_size or width % patch_size:
        raise ValueError(
            f'height and width must be multiples of {patch_size}, got {height} x '
            f'{width}; resize to patch_size * target_grid(...)'
        )
    h, w = height // patch_size, width // patch_size
    x = pixels.reshape(batch_size, channels, h, patch_size, w, patch_size)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(batch_size, h * w, -1)


def unpatchify(
    patches: Tensor, grid_size: tuple[int, int], patch_size: int = 16
) -> Tensor:
    """Undo :func:`patchify`: (B, h * w, patch * patch * C) to (B, C, H, W)."""
    h, w = grid_size
    x = patches.reshape(len(patches), h, w, patch_size, patch_size, -1)
    x = x.permute(0, 5, 1, 3, 2, 4)  # (B, C, h, patch, w, patch)
    return x.reshape(len(patches), -1, h * patch_size, w * patch_size)


def _to_patches(
    image: Image.Image, grid_size: tuple[int, int], patch_size: int
) -> Tensor:
    h, w = grid_size
    resized = image.resize((w * patch_size, h * patch_size), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1)[None]
    return normalize(patchify(pixels, patch_size))[0]  # (h * w, 3 * patch^2)
