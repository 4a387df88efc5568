"""Pixels by true and predicted class, and the rates of segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def count_pixels(predicted: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Pixels of an image by true and predicted class.

    Args:
        predicted: (H, W) int64, 0 to ``num_classes`` - 1 where the pixel counts.
        labels: (H, W) int64, true classes; -1 counts for nothing.
        num_classes: C.

    Returns:
        (C, C) int64: row = true, column = predicted.

    Raises:
        ValueError: if the maps differ in size.
    """
    if predicted.shape != labels.shape:
        raise ValueError(
            f'a label map of {tuple(predicted.shape)} pixels was predicted for an '
            f'image of {tuple(labels.shape)}'
        )
    known = labels >= 0
    places = labels[known] * num_classes + predicted[known]
    return torch.bincount(places, minlength=num_classes**2).reshape(num_classes, -1)


@dataclass(frozen=True)
class SegmentationRates:
    """Rates as shares of 1.

    Args:
        miou: mean of intersection / union over the classes that occur.
        mean_accuracy: mean share of a class's pixels that are right, over the same.
        pixel_accuracy: share of all pixels that are right.
        num_classes: classes that occur.
        num_pixels: pixels that count.
    """

    miou: float
    mean_accuracy: float
    pixel_accuracy: float
    num_classes: int
    num_pixels: int


def segmentation_rates(
    counts: Tensor, classes: Sequence[int] | None = None
) -> SegmentationRates:
    """Rates of a confusion matrix.

    A class of no pixel is left out of the means, but naming pixels after it costs those
    pixels.

    Args:
        counts: (C, C) int64: row = true, column = predicted.
        classes: those that are averaged, such as the novel ones; predictions of the
            others still cost. All when None.

    Raises:
        ValueError: if there is no pixel of these classes.
    """
    counts = counts.cpu().double()
    right, pixels = counts.diag(), counts.sum(1)
    union = pixels + counts.sum(0) - right
    chosen = torch.zeros(len(counts), dtype=torch.bool)
    chosen[slice(None) if classes is None else list(classes)] = True
    present = (pixels > 0) & chosen
    if not present.any():
        raise ValueError('no pixel has a class, so the rates are not defined')
    num_pixels = int(pixels[present].sum())
    return SegmentationRates(
        float((right / union)[present].mean()),
        float((right / pixels)[present].mean()),
        float(right[present].sum() / num_pixels),
        int(present.sum()),
        num_pixels,
    )
