"""A momentum teacher: a copy of a module that follows it slowly."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

Student = TypeVar('Student', bound=nn.Module)


class MomentumTeacher(nn.Module, Generic[Student]):
    """Exponential moving average of a module's weights, without gradient.

    theta' <- m theta' + (1 - m) theta

    for what the student trains; frozen parameters are shared with it, and buffers are
    copied. The copy is part of a checkpoint.

    Args:
        student: what is followed; equal to the teacher at first.
        momentum: m, in [0, 1].

    Example:
        >>> student = nn.Linear(2, 2)
        >>> teacher = MomentumTeacher(student, 0.995)
        >>> teacher.update(student)
        >>> teacher.module(torch.zeros(1, 2)).shape
        torch.Size([1, 2])

    Reference: MoCo (arXiv:1911.05722), equation 2, as in R2D2 (arXiv:2205.03860),
    section 4.2.
    """

    def __init__(self, student: Student, momentum: float = 0.995) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise ValueError(f'momentum must lie in [0, 1], got {momentum!r}')
        self.momentum = momentum
        frozen = {id(p): p for p in student.parameters() if not p.requires_grad}
        self.module: Student = copy.deepcopy(student, frozen).eval()
        for parameter in self.module.parameters():
            parameter.requires_grad_(False)

    def train(self, mode: bool = True) -> MomentumTeacher[Student]:
        """The teacher never trains."""
        super().train(mode)
        self.module.eval()
        return self

    @torch.no_grad()
    def update(self, student: Student) -> None:
        """One step towards the student."""
        pairs = zip(self.module.parameters(), student.parameters(), strict=True)
        for mine, theirs in pairs:
            if mine is not theirs:
                mine.lerp_(theirs.detach(), 1 - self.momentum)
        buffers = zip(self.module.buffers(), student.buffers(), strict=True)
        for mine, theirs in buffers:
            mine.copy_(theirs)
