"""Feature-guided distillation: features of a masked text fitted to a teacher's of the
whole text."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .gather import global_sum, rank_share
from .precision import full_precision, without_autocast

FEATURE_FORMS = ('cosine', 'mse', 'distribution')


@without_autocast
def feature_guided_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    form: str = 'cosine',
    centre: Tensor | None = None,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
) -> Tensor:
    """Distance of N features f_i of masked texts from the teacher's g_i of whole ones.

    ``'cosine'``: L = (1/N) sum_i [ 1 - cos(f_i, g_i) ]

    ``'mse'``: L = (1/ND) sum_i |f_i - g_i|^2

    ``'distribution'``, a softmax over the D channels as in DINO, with centre c:
    L = -(1/N) sum_id softmax((g_i - c) / t_g)_d log softmax(f_i / t_f)_d

    The teacher has no gradient.

    Args:
        student: (B, D). B may be 0, also on one rank alone.
        teacher: (B, D), row by row of the same text.
        form: see above.
        centre: c, (D,), see :func:`next_centre`; None: 0. Of 'distribution' alone.
        student_temperature, teacher_temperature: t_f and t_g, likewise.

    Returns:
        Scalar, float32: this rank's share (see :mod:`.gather`); 0 without rows.

    Raises:
        ValueError: if the form is unknown or shapes differ.

    Reference: R2D2 (arXiv:2205.03860), section 4.2, in words: the teacher encodes the
    whole text, the student the masked one, and features are matched. The forms are our
    reading; the third is DINO's (arXiv:2104.14294), equation 1 and section 3.1.
    """
    if form not in FEATURE_FORMS:
        raise ValueError(f'form must be one of {FEATURE_FORMS}, got {form!r}')
    if student.ndim != 2 or student.shape != teacher.shape:
        raise ValueError(
            'student and teacher must be (B, D) of the same texts, got '
            f'{tuple(student.shape)} and {tuple(teacher.shape)}'
        )
    f, g = full_precision(student, teacher.detach())
    if form == 'cosine':
        total = (1 - F.cosine_similarity(f, g, dim=1)).sum()
    elif form == 'mse':
        total = (f - g).square().mean(1).sum()
    else:
        centred = g if centre is None else g - centre.to(g)
        targets = (centred / teacher_temperature).softmax(1)
        total = -(targets * (f / student_temperature).log_softmax(1)).sum()
    return rank_share(total, len(f))


@torch.no_grad()
def next_centre(teacher: Tensor, centre: Tensor, momentum: float = 0.9) -> Tensor:
    """The centre after a step: m c + (1 - m) times the mean feature of all ranks.

    Args:
        teacher: (B, D); B may be 0.
        centre: (D,) of the last step.
        momentum: m.

    Returns:
        (D,); ``centre`` where no rank has a row.
    """
    sums = torch.cat([teacher.to(centre).sum(0), centre.new_tensor([len(teacher)])])
    sums = global_sum(sums)
    if not sums[-1]:
        return centre
    return momentum * centre + (1 - momentum) * sums[:-1] / sums[-1]
