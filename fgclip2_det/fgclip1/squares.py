"""Sizes and values of FG-CLIP 1's square images, without PyTorch."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from fgclip2_det.io import InputError

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of RGB in 0 to 1, github.com/openai/
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)  # CLIP, clip/clip.py


def squash(image: Image.Image, side: int) -> np.ndarray:
    """(side, side, 3) uint8 of an RGB image, by PIL (bicubic)."""
    return np.array(image.resize((side, side), Image.Resampling.BICUBIC))


def side_of_budget(max_num_patches: int | str, grid_side: int) -> int:
    """Patches per side: the model's own for 'auto', else the most of a budget.

    Raises:
        InputError: if the budget is neither 'auto' nor a positive integer.
    """
    if max_num_patches == 'auto':
        return grid_side
    if type(max_num_patches) is not int or max_num_patches < 1:
        raise InputError(
            "max_num_patches must be a positive integer or 'auto', got "
            f'{max_num_patches!r}'
        )
    return math.isqrt(max_num_patches)
