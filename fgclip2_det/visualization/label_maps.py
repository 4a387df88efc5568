"""Drawing of label maps: every pixel in the colour of its name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from .draw import class_color, draw_detections

_SHARE = 0.6  # of the colour in a pixel
_SMALLEST = 0.002  # share of the image from which a name is written


def draw_label_map(
    image: Image.Image,
    labels: np.ndarray,
    names: Sequence[str],
    *,
    min_size: int = 0,
    title: str = '',
) -> Image.Image:
    """Tint pixels in the colours of their names, and write the names.

    Each name of more than 0.2 % of the pixels is written once, at a box around all of
    its pixels.

    Args:
        image: RGB, (h, w) pixels.
        labels: (h, w) integers, rows of ``names``; pixels of other numbers, as -1 or
            255, stay as they are.
        names: in label order.
        min_size: length in pixels to which the longer side of a smaller image is
            enlarged.
        title: text in the upper left corner.

    Returns:
        RGB image, (h, w) unless ``min_size`` enlarged it.

    Raises:
        ValueError: if image and labels differ in size.

    Example:
        >>> image = Image.new('RGB', (160, 96))
        >>> draw_label_map(image, np.zeros((96, 160), int), ['草']).size
        (160, 96)
    """
    labels = np.asarray(labels)
    if labels.shape != image.size[::-1]:
        raise ValueError(
            f'an image of {image.size[::-1]} (h, w) pixels needs a label map of the '
            f'same, got {labels.shape}'
        )
    pixels = np.asarray(image.convert('RGB'), np.float32).copy()
    bboxes, texts = [], []
    present = [int(row) for row in np.unique(labels) if 0 <= row < len(names)]
    for row in present:
        inside = labels == row
        color = np.array(class_color(names[row]), np.float32)
        pixels[inside] += _SHARE * (color - pixels[inside])
        if inside.mean() >= _SMALLEST:
            rows, columns = inside.nonzero()
            ends = columns.max() + 1, rows.max() + 1
            bboxes.append([columns.min(), rows.min(), *ends])
            texts.append(names[row])
    tinted = Image.fromarray(pixels.round().astype(np.uint8))
    boxes = np.array(bboxes, np.float64).reshape(-1, 4)
    return draw_detections(tinted, boxes, texts, min_size=min_size, title=title)
