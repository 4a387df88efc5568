"""Base class of the fusion rules: similarities, weights and checks."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from fgclip2_det.models.open_softmax import open_softmax


class ScoreFusion(nn.Module):
    """Base class: fuses detector scores d with region-text cosines, box by class.

    A rule is a subclass with ``combine``. The similarity is w = softmax(cos /
    temperature) over the C names and their competitors, so it shrinks as the vocabulary
    grows, and without competitors it is 1 for a single name.

    Args:
        alpha: weight of w, in [0, 1]: on base classes, or on all classes if ``beta`` is
            None. A sequence gives each class its own weight.
        beta: weight of w on novel classes.
        temperature: divisor of the cosines. The released region evaluation uses 0.01.

    Raises:
        ValueError: for weights outside [0, 1], a temperature that is not positive and
            finite, values that are not numbers, or ``beta`` together with a sequence.
    """

    needs_image = False  # whether forward takes image_cosines
    needs_ranking = False  # whether forward takes a ranking
    needs_trained = False  # whether set_names takes the training names

    def __init__(
        self,
        alpha: float | Sequence[float],
        beta: float | None = None,
        temperature: float = 0.01,
    ) -> None:
        super().__init__()
        per_class = isinstance(alpha, Sequence) and not isinstance(alpha, str)
        alphas: Any = alpha if per_class else [alpha]
        if not len(alphas):
            raise ValueError('alpha must have a weight for each class, got none')
        if per_class and beta is not None:
            raise ValueError(
                f'beta must be None where alpha has a weight for each class, got {beta}'
            )
        betas: Sequence[Any] = [] if beta is None else [beta]
        for name, values in dict(alpha=alphas, beta=betas).items():
            for value in values:
                check_weight(name, value)
        check_positive('temperature', temperature)
        self.alpha, self.beta, self.temperature = alpha, beta, temperature

    def set_names(
        self, embeds: Tensor, is_base: Tensor, trained: Tensor | None = None
    ) -> None:
        """Called whenever the vocabulary changes; most rules ignore it.

        Args:
            embeds: (C, D) of the names, normalised.
            is_base: (C,) bool, names that the training had boxes of, be it in other
                words or in another language.
            trained: (T, D) of all training names, asked for or not; None: the base
                names among ``embeds`` alone.
        """

    def with_names(
        self, embeds: Tensor, is_base: Tensor, trained: Tensor | None = None
    ) -> ScoreFusion:
        """A copy that is set to these names, see :meth:`set_names`; this one stays."""
        rule = copy.copy(self)
        rule.set_names(embeds, is_base, trained)
        return rule

    def forward(
        self,
        det_scores: Tensor,
        cosines: Tensor,
        is_base: Tensor | None = None,
        *,
        competitors: Tensor | None = None,
        apart: Tensor | None = None,
    ) -> Tensor:
        """Fused scores.

        Args:
            det_scores: (n, C) class probabilities of the detector, or (n, 1) if it has
                one score per box.
            cosines: (n, C) of region embeddings with the vocabulary.
            is_base: (C,) bool; needed if there is a ``beta``.
            competitors: (n, S) cosines of the regions with texts that share the
                similarity's softmax, see :mod:`fgclip2_det.vocabulary.competitors`.
            apart: (C, C + T) bool, see :func:`.open_softmax`; None: all names compete.

        Returns:
            (n, C), float32.

        Raises:
            ValueError: if shapes do not fit, or ``is_base`` is missing.
        """
        n, num_classes = cosines.shape
        if det_scores.shape not in {(n, num_classes), (n, 1)}:
            raise ValueError(
                f'det_scores must be ({n}, {num_classes}) like the cosines, or '
                f'({n}, 1), got {tuple(det_scores.shape)}'
            )
        weights = self.weights(num_classes, is_base).to(cosines.device)
        sim = self.similarity(cosines.float(), competitors, apart)
        return self.combine(det_scores.float(), sim, weights, is_base)

    def combine(
        self, det: Tensor, sim: Tensor, weights: Tensor, is_base: Tensor | None
    ) -> Tensor:
        """The rule: (n, C) or (n, 1), (n, C), (C,), (C,) -> (n, C)."""
        raise NotImplementedError

    def similarity(
        self,
        cosines: Tensor,
        competitors: Tensor | None = None,
        apart: Tensor | None = None,
    ) -> Tensor:
        """w: (n, C) cosines -> (n, C); see ``forward`` for the others."""
        others = None if competitors is None else competitors / self.temperature
        return open_softmax(cosines / self.temperature, others, apart)

    def weights(self, num_classes: int, is_base: Tensor | None) -> Tensor:
        """Weight of the similarity for each class, (C,)."""
        if isinstance(self.alpha, Sequence):
            if len(self.alpha) != num_classes:
                raise ValueError(
                    f'alpha has {len(self.alpha)} weights, but there are {num_classes} '
                    'classes'
                )
            return torch.tensor(self.alpha, dtype=torch.float32)
        if self.beta is None:
            return torch.full((num_classes,), float(self.alpha))
        if is_base is None or is_base.shape != (num_classes,):
            shape = None if is_base is None else tuple(is_base.shape)
            raise ValueError(
                f'alpha and beta need is_base ({num_classes},), got {shape}; set '
                'beta=None if there is no split'
            )
        return torch.where(is_base, self.alpha, self.beta)


def check_finite(name: str, value: float) -> float:
    """Return the value; ValueError unless it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f'{name} must be a number, got {value!r}')
    if not math.isfinite(value):
        raise ValueError(f'{name} must be a finite number, got {value}')
    return value


def check_positive(name: str, value: float) -> float:
    """Return the value; ValueError unless it is a finite number above 0."""
    if check_finite(name, value) <= 0:
        raise ValueError(f'{name} must be positive, got {value}')
    return value


def check_weight(name: str, value: float) -> float:
    """Return the value; ValueError unless it lies in [0, 1]."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not 0 <= value <= 1:
        raise ValueError(f'{name} must lie in [0, 1], got {value!r}')
    return value
