"""A binary loss for every pixel and name."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, broadcast
from torch import Tensor

BACKGROUND, IGNORED = -1, -2  # of labels: no name is right; counts for nothing


def name_map_loss(logits: Tensor, labels: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Sum and number of the binary cross entropies of pixels and names.

    Logits are enlarged to the pixels of the labels, bilinearly, as Cat-Seg does.

    Args:
        logits: (B, T, h, w), which may go on over more than the labels at the right
            and at the bottom.
        labels: (B, H, W) int64, rows of names; ``BACKGROUND`` where no name is right,
            ``IGNORED`` where nothing counts.
        stride: pixels of the labels a cell of the logits.

    Returns:
        Two scalars, float32: the sum, and what to divide it by.

    Reference: Cat-Seg (arXiv:2303.11797), section 4.1: a binary loss a class.
    """
    height, width = labels.shape[1:]
    canvas = [cells * stride for cells in logits.shape[2:]]
    logits = F.interpolate(logits.float(), canvas, mode='bilinear')
    logits = logits[:, :, :height, :width]
    known = labels != IGNORED
    num_names = logits.shape[1]
    targets = torch.zeros_like(logits)
    targets.scatter_(1, labels.clamp(min=0)[:, None], (labels >= 0)[:, None].float())
    losses = F.binary_cross_entropy_with_logits(logits, targets, reduction='none')
    total = (losses * known[:, None]).sum()
    return total, known.sum() * num_names


def choose_names(
    labels: Tensor,
    candidates: Sequence[int],
    num_names: int | None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Names of a training step: those in its images, and others at random.

    Collective: all processes get the same names, for the images of all of them, as one
    process would with these images. The first one draws.

    Args:
        labels: int64, the rows of names that occur and numbers below 0.
        candidates: rows of all names that may be used.
        num_names: how many to use at least, fewer where there are fewer candidates;
            None: all.
        generator: of the choice; None: torch's own.

    Returns:
        (T,) int64, rows in increasing order.

    Raises:
        ValueError: naming a label that is not among the candidates, in all processes.
    """
    present = _labels_of_all(labels)
    if strange := present - set(candidates):
        raise ValueError(
            f'a training image has pixels of class {min(strange)}, which is not one of '
            f'the {len(candidates)} base classes; train on images without novel ones'
        )
    others = [row for row in candidates if row not in present]
    wanted = len(others) if num_names is None else max(0, num_names - len(present))
    order = torch.randperm(len(others), generator=generator)
    broadcast(order)
    return torch.tensor(sorted(present | {others[i] for i in order[:wanted].tolist()}))


def _labels_of_all(labels: Tensor) -> set[int]:
    """Those from 0 on that occur in any process."""
    own = labels[labels >= 0].unique()
    length = labels.new_tensor(int(own[-1]) + 1 if len(own) else 1)
    all_reduce(length, 'max')
    occurs = labels.new_zeros(int(length))
    occurs[own] = 1
    all_reduce(occurs, 'max')
    return set(occurs.nonzero()[:, 0].tolist())


def rows_of_names(labels: Tensor, names: Tensor) -> Tensor:
    """Labels of all classes as rows of some of them; numbers below 0 stay.

    Args:
        labels: int64 of any shape.
        names: (T,) int64, classes in increasing order, with all that occur.
    """
    rows = torch.searchsorted(names.to(labels.device), labels.clamp(min=0).contiguous())
    return torch.where(labels < 0, labels, rows)
