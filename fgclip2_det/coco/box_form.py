"""Boxes that are written x1, y1, x2, y2 where x, y, width, height is expected."""

from __future__ import annotations

import os

import numpy as np

from fgclip2_det.io import InputError

_MIN_ROWS = 10  # fewer may reach outside their image by chance


class BoxForm:
    """Detects xyxy boxes: as xywh they reach outside the image, as xyxy they fit.

    Args:
        share: of the boxes, beyond which such ones are taken for xyxy.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self.suspicious = self.total = 0

    def look(self, sizes: np.ndarray, boxes: np.ndarray) -> None:
        """Count some boxes.

        Args:
            sizes: (N, 2) width and height of their images, NaN where it is not known.
            boxes: (N, 4) as they are written, in pixels.
        """
        sizes = sizes + 1
        start, end = boxes[:, :2], boxes[:, 2:]
        outside = (start + end > sizes).any(1)
        self.suspicious += int((outside & (start <= end).all(1)
                                & (end <= sizes).all(1)).sum())  # fmt: skip
        self.total += len(boxes)

    def check(self, path: str | os.PathLike) -> None:
        """ValueError naming the file, if its boxes look like xyxy."""
        if self.total >= _MIN_ROWS and self.suspicious > self.total * self.share:
            raise InputError(
                f'{path}: {self.suspicious} of {self.total} boxes reach outside their '
                'image as x, y, width, height but fit as x1, y1, x2, y2; write '
                'x1, y1, x2 - x1, y2 - y1'
            )
