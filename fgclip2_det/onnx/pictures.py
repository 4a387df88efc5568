"""Images as arrays for exported graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from fgclip2_det.fgclip2.grids import patch_budget, target_grid
from fgclip2_det.io import InputError


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
