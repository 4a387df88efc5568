"""Target-guided distillation: a momentum teacher softens the targets of pre-ranking."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .gather import RowLayout, all_gather_rows, rank_share, row_layout
from .pairs import match_matrix
from .pre_ranking import equal_shares, soft_cross_entropy
from .precision import full_precision, without_autocast

WEIGHTINGS = ('loss', 'softmax', 'none')


class QueueEntries(NamedTuple):
    """Q pairs of earlier steps, as the teacher saw them; the same on every rank.

    Attributes:
        image, text: (Q, D), L2-normalised. Q may be 0.
        image_keys, text_keys: (Q,) int64.
        weights: (Q,), 1 for the newest.
    """

    image: Tensor
    text: Tensor
    image_keys: Tensor
    text_keys: Tensor
    weights: Tensor


@without_autocast
def target_guided_loss(
    image_embeds: Tensor,
    text_embeds: Tensor,
    teacher_image_embeds: Tensor,
    teacher_text_embeds: Tensor,
    temperature: Tensor,
    image_keys: Tensor,
    text_keys: Tensor | None = None,
    queue: QueueEntries | None = None,
    *,
    alpha: float = 0.4,
    weighting: str = 'loss',
) -> Tensor:
    """Pre-ranking against the teacher's features of the batch and of a queue.

    With I, T the student's features and I', T' the teacher's, columns j the N pairs of
    all ranks and then the Q of the queue, s_ij = cos(I_i, T'_j) / t,
    s'_ij = cos(I'_i, T'_j) / t, w_j = 1 for pairs of the batch and the queue's weight
    for others, y_ij = m_ij / sum_j m_ij over the matches m_ij,

    z_ij = a softmax(s'_i)_j + (1 - a) y_ij
    L = -(1/2N) sum_ij w_j z_ij log softmax(s_i)_j + the same with images and texts
    exchanged

    Targets have no gradient. ``weighting='softmax'`` puts w_j into the softmaxes
    instead (s_ij + log w_j, s'_ij + log w_j); 'none' leaves it out.

    Args:
        image_embeds, text_embeds: (B, D), L2-normalised, of the student. B may be 0.
        teacher_image_embeds, teacher_text_embeds: (B, D) likewise of the teacher.
        temperature: t > 0, one number.
        image_keys, text_keys: as in :func:`.pre_ranking_loss`.
        queue: earlier pairs; None: there are none.
        alpha: a, the teacher's share; 0 leaves the labels alone.
        weighting: see above.

    Returns:
        Scalar, float32: this rank's share (see :mod:`.gather`); 0 without rows.

    Raises:
        ValueError: if shapes do not fit, ``alpha`` is outside [0, 1] or ``weighting``
            unknown.

    Reference: R2D2 (arXiv:2205.03860), section 4.2, in words: targets that mix label
    and teacher's similarity, queues whose weight decays. The form is our reading, after
    ALBEF (arXiv:2107.07651), equations 1 and 6, and its queues.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f'alpha must lie in [0, 1], got {alpha!r}')
    if weighting not in WEIGHTINGS:
        raise ValueError(f'weighting must be one of {WEIGHTINGS}, got {weighting!r}')
    student = image_embeds, text_embeds
    teacher = teacher_image_embeds.detach(), teacher_text_embeds.detach()
    if {each.shape for each in teacher} != {image_embeds.shape}:
        raise ValueError(
            f'the teacher must see the same pairs {tuple(image_embeds.shape)}, got '
            f'{tuple(teacher[0].shape)} and {tuple(teacher[1].shape)}'
        )
    layout = row_layout(len(image_embeds), image_embeds.device)
    matches = match_matrix(*student, image_keys, text_keys, layout)
    parts = full_precision(*student, *teacher, 1 / temperature.reshape(()))
    weights = parts[0].new_ones(layout.total)
    if queue is not None:
        earlier = _queue_matches(image_keys, text_keys, queue)
        matches = torch.cat([matches, earlier], 1)
        weights = torch.cat([weights, queue.weights.to(weights)])
    labels = equal_shares(matches, parts[0].dtype)
    images, texts = _columns(parts[2], parts[3], queue, layout)
    total = _direction(parts[0], parts[2], texts, parts[4], labels, weights, alpha,
                       weighting)  # fmt: skip
    total = total + _direction(parts[1], parts[3], images, parts[4], labels, weights,
                               alpha, weighting)  # fmt: skip
    return rank_share(total / 2, len(image_embeds))


def _direction(
    student: Tensor,
    teacher: Tensor,
    columns: Tensor,
    scale: Tensor,
    labels: Tensor,
    weights: Tensor,
    alpha: float,
    weighting: str,
) -> Tensor:
    """Sum over this rank's rows of the cross entropy of one direction."""
    bias = weights.log() if weighting == 'softmax' else 0.0
    with torch.no_grad():
        soft = (teacher * scale @ columns.T + bias).softmax(1)
        targets = alpha * soft + (1 - alpha) * labels
    logits = student * scale @ columns.T + bias
    return soft_cross_entropy(logits, targets, weights if weighting == 'loss' else None)


@torch.no_grad()
def _columns(
    images: Tensor, texts: Tensor, queue: QueueEntries | None, layout: RowLayout
) -> tuple[Tensor, Tensor]:
    """The teacher's images and texts, (N + Q, D) each."""
    all_images, all_texts = (all_gather_rows(x, layout) for x in (images, texts))
    if queue is None:
        return all_images, all_texts
    return (
        torch.cat([all_images, queue.image.to(all_images)]),
        torch.cat([all_texts, queue.text.to(all_texts)]),
    )


def _queue_matches(
    image_keys: Tensor, text_keys: Tensor | None, queue: QueueEntries
) -> Tensor:
    """(B, Q) bool."""
    matches = (image_keys[:, None] == queue.image_keys) & (image_keys >= 0)[:, None]
    if text_keys is not None:
        same = text_keys[:, None] == queue.text_keys
        matches = matches | (same & (text_keys >= 0)[:, None])
    return matches
