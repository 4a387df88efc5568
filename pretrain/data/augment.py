"""Random views of whole images: crop, mirror image, and a few operations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

LEVELS = 10  # of an operation's strength
FILL = (128, 128, 128)  # what an operation moves in from outside
TRIES = 10
RATIOS = (3 / 4, 4 / 3)  # of a crop's sides


class Augment:
    """Random crop, mirror image and RandAugment of an image without boxes.

    Args:
        crop: the least and the most of the image's area that is kept; None: all.
        flip: mirror every other image. Captions that tell left from right are wrong
            then, as in the released training.
        rand_augment: (N, M): N operations of ten, of strength M out of 10, each done
            every other time; None: none.

    Example:
        >>> augment = Augment(crop=(0.5, 1.0))
        >>> augment(Image.new('RGB', (64, 48)), np.random.default_rng(0)).size
        (52, 40)

    Reference: RandAugment (arXiv:1909.13719) with the operations of R2D2's fine-tuning,
    N = 2, M = 5, and BLIP's (arXiv:2201.12086) strengths.
    """

    def __init__(
        self,
        crop: Sequence[float] | None = (0.5, 1.0),
        flip: bool = True,
        rand_augment: Sequence[int] | None = (2, 5),
    ) -> None:
        if crop is not None and not (len(crop) == 2 and 0 < crop[0] <= crop[1] <= 1):
            raise ValueError(
                f'augment: crop must be two shares 0 < low <= high <= 1, got {crop!r}'
            )
        whole = rand_augment is None or (
            len(rand_augment) == 2
            and all(isinstance(n, int) and 0 <= n <= LEVELS for n in rand_augment)
        )
        if not whole:
            raise ValueError(
                'augment: rand_augment must be two whole numbers from 0 to '
                f'{LEVELS}, got {rand_augment!r}'
            )
        self.crop, self.flip, self.rand_augment = crop, flip, rand_augment

    def __call__(
        self,
        image: Image.Image,
        rng: np.random.Generator,
        size: tuple[int, int] | None = None,
    ) -> Image.Image:
        """A view of an image.

        Args:
            image: RGB.
            rng: of all choices.
            size: (width, height) that the view is resized to, bicubic; None: the crop's
                own.
        """
        box = (0, 0, *image.size) if self.crop is None else (
            _crop_box(image.size, self.crop, rng)
        )  # fmt: skip
        size = size or (box[2] - box[0], box[3] - box[1])
        image = image.resize(size, Image.Resampling.BICUBIC, box=box)
        if self.flip and rng.random() < 0.5:
            image = ImageOps.mirror(image)
        if self.rand_augment is None:
            return image
        number, strength = self.rand_augment
        for name in rng.choice(list(OPERATIONS), number):
            if rng.random() < 0.5:
                image = OPERATIONS[name](image, strength / LEVELS, rng)
        return image


def _crop_box(
    size: tuple[int, int], shares: Sequence[float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Whole pixels of a part of the image, anywhere in it."""
    width, height = size
    for _ in range(TRIES):
        area = width * height * rng.uniform(shares[0], shares[1])
        low, high = np.log(RATIOS)
        ratio = math.exp(rng.uniform(low, high))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = (int(rng.integers(n + 1)) for n in (width - w, height - h))
            return left, top, left + w, top + h
    # too narrow an image for that: its middle, as near to these ratios as it goes
    w = min(width, max(round(height * RATIOS[1]), 1))
    h = min(height, max(round(width / RATIOS[0]), 1))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


Operation = Callable[[Image.Image, float, np.random.Generator], Image.Image]


def _enhance(kind: Any) -> Operation:
    """Brightness or sharpness by a factor of 0.1 to 1.9."""
    return lambda image, level, rng: kind(image).enhance(0.1 + 1.8 * level)


def _signed(value: float, rng: np.random.Generator) -> float:
    return value if rng.random() < 0.5 else -value


def _affine(image: Image.Image, *rows: float) -> Image.Image:
    return image.transform(
        image.size, Image.Transform.AFFINE, rows, Image.Resampling.BILINEAR,
        fillcolor=FILL,
    )  # fmt: skip


OPERATIONS: dict[str, Operation] = {
    'identity': lambda image, level, rng: image,
    'auto_contrast': lambda image, level, rng: ImageOps.autocontrast(image),
    'equalize': lambda image, level, rng: ImageOps.equalize(image),
    'brightness': _enhance(ImageEnhance.Brightness),
    'sharpness': _enhance(ImageEnhance.Sharpness),
    'shear_x': lambda image, level, rng: _affine(
        image, 1, _signed(0.3 * level, rng), 0, 0, 1, 0
    ),
    'shear_y': lambda image, level, rng: _affine(
        image, 1, 0, 0, _signed(0.3 * level, rng), 1, 0
    ),
    'translate_x': lambda image, level, rng: _affine(
        image, 1, 0, _signed(10 * level, rng), 0, 1, 0
    ),
    'translate_y': lambda image, level, rng: _affine(
        image, 1, 0, 0, 0, 1, _signed(10 * level, rng)
    ),
    'rotate': lambda image, level, rng: image.rotate(
        _signed(30 * level, rng), Image.Resampling.BILINEAR, fillcolor=FILL
    ),
}
