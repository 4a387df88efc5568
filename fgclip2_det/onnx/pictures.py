"""Images as arrays for exported graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from fgclip2_det.fgclip1.squares import CLIP_MEAN, CLIP_STD, side_of_budget, squash
from fgclip2_det.fgclip2.grids import patch_budget, target_grid
from fgclip2_det.io import InputError
from fgclip2_det.onnx.folder import ModelFolder


def encoder_input(
    image: Image.Image, max_num_patches: int | str, folder: ModelFolder
) -> np.ndarray:
    """(3, H, W) float32 of an upright RGB image for ``vision.onnx`` of a folder.

    Raises:
        InputError: a grid beyond what was exported.
    """
    sizes = folder['patch_size'], folder['max_side']
    if folder.version == 1:
        return to_square(image, max_num_patches, *sizes, folder['grid_side'])
    return to_input(image, max_num_patches, *sizes)


def to_input(
    image: Image.Image, max_num_patches: int | str, patch_size: int, max_side: int
) -> np.ndarray:
    """(3, H, W) float32 in -1 to 1 of an upright RGB image, as in training.

    Args:
        image: as ``load_image`` gives it.
        max_num_patches: the budget, or 'auto'; see ``preprocess``.
        patch_size: pixels per patch side.
        max_side: patches of a side that the graph was exported for.

    Raises:
        InputError: a grid beyond that.
    """
    budget: Any = max_num_patches
    if budget == 'auto':
        budget = patch_budget(*image.size)
    h, w = target_grid(image.height, image.width, budget, patch_size)
    if max(h, w) > max_side:
        raise InputError(
            f'an image of {image.width} x {image.height} pixels is {h} x {w} patches '
            f'with max_num_patches={max_num_patches}, but the model was exported for '
            f'at most {max_side} a side; give a smaller budget, or export it with '
            f'--max-side {max(h, w)}'
        )
    size = (w * patch_size, h * patch_size)
    resized = image.resize(size, Image.Resampling.BILINEAR)
    pixels = np.asarray(resized, np.float32)
    return np.ascontiguousarray(((pixels - 127.5) / 127.5).transpose(2, 0, 1))


def to_square(
    image: Image.Image,
    max_num_patches: int | str,
    patch_size: int,
    max_side: int,
    grid_side: int,
) -> np.ndarray:
    """(3, side, side) float32 of an upright RGB image, as ``FGCLIP1.preprocess``.

    Args:
        image: as ``load_image`` gives it.
        max_num_patches: the budget of a square, or 'auto' for the model's own grid.
        patch_size: pixels per patch side.
        max_side: patches of a side that the graph was exported for.
        grid_side: of the model's own grid.

    Raises:
        InputError: a grid beyond that.
    """
    side = side_of_budget(max_num_patches, grid_side)
    if side > max_side:
        raise InputError(
            f'max_num_patches={max_num_patches} is a square of {side} x {side} '
            f'patches, but the model was exported for at most {max_side} a side; give '
            f"{max_side**2} or less, 'auto' for its own grid ({grid_side} x "
            f'{grid_side}), or export it with --max-side {side}'
        )
    pixels = squash(image, side * patch_size).astype(np.float32) / np.float32(255)
    mean, std = np.array(CLIP_MEAN, np.float32), np.array(CLIP_STD, np.float32)
    return np.ascontiguousarray(((pixels - mean) / std).transpose(2, 0, 1))
