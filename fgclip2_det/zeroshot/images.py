"""Images to encode, with their boxes: what every box benchmark is read into."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

_NUM_NAMED = 3  # missing files in a message


@dataclass(frozen=True)
class ImageItem:
    """One image and the boxes to pool in it.

    Args:
        path: of the image file.
        bboxes: n boxes (x1, y1, x2, y2) in pixels of the upright image; n may be 0.
        size: (w, h) that the annotations state; None where they state none.
        truths: what is right for each box: a text, or several. Read by the controls
            alone.
        captions: texts that are right for the image. Read by the controls alone.
        truth_map: gives (H, W) rows, -1 where nothing is known, and for each row the
            texts that are right there. Called by the controls alone.
    """

    path: Path
    bboxes: Sequence[Sequence[float]] = ()
    size: tuple[int, int] | None = None
    truths: Sequence[str | Sequence[str]] = ()
    captions: Sequence[str] = ()
    truth_map: Callable[[], tuple[Tensor, Sequence[Sequence[str]]]] | None = None

    def xywh(self) -> np.ndarray:
        """(n, 4) float64, the boxes as COCO writes them."""
        xyxy = np.array(self.bboxes, np.float64).reshape(-1, 4)
        return np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1)


def to_xyxy(bbox: object, size: tuple[int, int], name: str) -> tuple[float, ...]:
    """(x1, y1, x2, y2) of an annotated (x, y, w, h), in the same pixels.

    Args:
        bbox: as read from a file.
        size: (w, h) of the image in pixels.
        name: of the annotation, for the message.

    Raises:
        ValueError: unless the box is four finite numbers with positive sides and
            touches the image.
    """
    if not (isinstance(bbox, list) and len(bbox) == 4 and all(map(_is_finite, bbox))):
        raise ValueError(
            f'{name}: bbox must be four finite numbers x, y, width, height, got {bbox}'
        )
    x, y, width, height = bbox
    if min(width, height) <= 0:
        raise ValueError(
            f'{name}: bbox {bbox} has no area; correct or remove the annotation'
        )
    if x + width <= 0 or y + height <= 0 or x >= size[0] or y >= size[1]:
        raise ValueError(
            f'{name}: bbox {bbox} lies outside its image of {size[0]} x {size[1]} '
            'pixels; correct or remove the annotation'
        )
    return x, y, x + width, y + height


def _is_finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)


def check_images_exist(items: Sequence[ImageItem], image_root: Path) -> None:
    """ValueError that counts and names the images which are not there."""
    missing = [str(item.path) for item in items if not item.path.is_file()]
    if missing:
        more = ', ...' if len(missing) > _NUM_NAMED else ''
        raise ValueError(
            f'{len(missing)} of {len(items)} images are missing: '
            f'{", ".join(missing[:_NUM_NAMED])}{more}; --images ({image_root}) must be '
            "the folder that the annotations' file names start from"
        )


def take_first(entries: list, count: int | None) -> list:
    """The first ``count`` entries; all for None. ValueError for less than one."""
    if count is not None and count < 1:
        raise ValueError(f'num_images must be at least 1, or None for all; got {count}')
    return entries[:count]
