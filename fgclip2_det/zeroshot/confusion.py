"""Confusion matrix of zero-shot segmentation, and its rates."""

from __future__ import annotations

import torch
from torch import Tensor

from fgclip2_det.evaluation.label_maps import segmentation_rates
from fgclip2_det.fgclip2.score_maps import stretch

from .metrics import BLOCK_ELEMENTS, TIE
from .report import Report


def confusion(
    dense: Tensor,
    text_embeds: Tensor,
    class_of: Tensor,
    labels: Tensor,
    block_elements: int = BLOCK_ELEMENTS,
) -> Tensor:
    """Pixels of one image by true and predicted class, from its dense map.

    Args:
        dense: (D, h, w), L2-normalised over D.
        text_embeds: (T, D), L2-normalised.
        class_of, labels, block_elements: as of :func:`score_confusion`.

    Returns:
        (C, C) int64 on the device of ``dense``: row = true, column = predicted.
    """
    scores = torch.einsum('td,dhw->thw', text_embeds, dense)
    return score_confusion(scores, class_of, labels, block_elements)


def score_confusion(
    scores: Tensor,
    class_of: Tensor,
    labels: Tensor,
    block_elements: int = BLOCK_ELEMENTS,
) -> Tensor:
    """Pixels of one image by true and predicted class.

    Scores of places and names are stretched to the label map's size, bilinearly and
    with pixel centres in place, and the best class wins. Scores are stretched rather
    than features: a mean of features would need a norm at every pixel. A tie goes to
    a wrong class. Rows of pixels are done in blocks, with the same result.

    Args:
        scores: (T, h, w), cosines or logits of every name.
        class_of: (T,) int64, the class of each name, 0 to C - 1, none left out.
        labels: (H, W) int64, true classes; -1 counts for nothing.
        block_elements: scores held at once.

    Returns:
        (C, C) int64 on the device of ``scores``: row = true, column = predicted.
    """
    num_classes = int(class_of.max()) + 1
    class_of, labels = class_of.to(scores.device), labels.to(scores.device)
    height, width = labels.shape
    scores = stretch(scores, 2, width, 0, width)  # (T, h, W)
    counts = labels.new_zeros(num_classes**2)
    size = max(1, block_elements // (len(scores) * width))
    for start in range(0, height, size):
        stop = min(start + size, height)
        block = stretch(scores, 1, height, start, stop)  # (T, r, W)
        if len(block) > num_classes:
            best = block.new_full((num_classes, *block.shape[1:]), -torch.inf)
            index = class_of[:, None, None].expand_as(block)
            block = best.scatter_reduce_(0, index, block, 'amax')
        known = labels[start:stop] >= 0
        truths = labels[start:stop][known]  # (n,)
        predicted = _predict(block[:, known], truths)
        counts += torch.bincount(
            truths * num_classes + predicted, minlength=num_classes**2
        )
    return counts.reshape(num_classes, num_classes)


def _predict(scores: Tensor, truths: Tensor) -> Tensor:
    """(n,) best class of scores (C, n); the best wrong one unless truth is above it."""
    truths = truths[None]
    own = scores.gather(0, truths)[0]
    rival, best = scores.scatter(0, truths, -torch.inf).max(0)
    return torch.where(own > rival + TIE, truths[0], best)  # NaN is never above


def add_segmentation(report: Report, counts: Tensor) -> None:
    """Rates of a confusion matrix, in percent.

    - ``miou``: mean of intersection / union over the classes that occur;
    - ``mean_accuracy``: mean share of a class's pixels that are right, over the same;
    - ``pixel_accuracy``: share of all pixels that are right.

    Classes of no pixel are left out of the means and counted, but naming pixels after
    one costs those pixels.

    Args:
        report: gets the metrics, and ``classes`` and ``classes_without_pixels``.
        counts: (C, C) int64: row = true, column = predicted.

    Raises:
        ValueError: if there is no pixel at all.
    """
    rates = segmentation_rates(counts)
    for name, share, number in (
        ('miou', rates.miou, rates.num_classes),
        ('mean_accuracy', rates.mean_accuracy, rates.num_classes),
        ('pixel_accuracy', rates.pixel_accuracy, rates.num_pixels),
    ):
        report.metrics[name] = 100 * share
        report.denominators[name] = number
    report.counts['classes'] = len(counts)
    report.counts['classes_without_pixels'] = len(counts) - rates.num_classes
