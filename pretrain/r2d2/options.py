"""Weights and forms of R2D2's loss terms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from pretrain.losses import AMONG, FEATURE_FORMS, WEIGHTINGS
from pretrain.losses.pre_ranking import TEMPERATURES

TERMS = ('pre_ranking', 'ranking', 'target_guided', 'feature_guided', 'mlm')
_SHARES = ('alpha', 'momentum', 'centre_momentum', 'mask_rate', 'mask_share',
           'random_share')  # fmt: skip
_FORMS = dict(negatives=AMONG, weighting=WEIGHTINGS, feature_form=FEATURE_FORMS)


@dataclass(frozen=True)
class R2D2Losses:
    """Weights and forms of the loss terms; a term of weight 0 is not computed.

    Attributes:
        pre_ranking: weight of :func:`~pretrain.losses.pre_ranking_loss`.
        ranking: of :func:`~pretrain.losses.matching_loss` with drawn negatives.
        target_guided: of :func:`~pretrain.losses.target_guided_loss`.
        feature_guided: of :func:`~pretrain.losses.feature_guided_loss`.
        mlm: of :func:`~pretrain.losses.masked_language_loss`.
        temperature: initial, learned between 0.001 and 0.5.
        same_text: whether pairs with equal texts match, too, so that neither is a
            negative of the other; equal images always do.
        negatives: 'all' or 'process', see :func:`~pretrain.losses.draw_negatives`.
        class_weights: of no match and of a match.
        double_softmax: see :func:`~pretrain.losses.matching_loss`.
        alpha: the teacher's share of targets.
        alpha_steps: steps in which it grows from 0 to that, linearly.
        queue_size: pairs that the queues hold.
        queue_decay: of an entry's weight, each step.
        weighting: see :func:`~pretrain.losses.target_guided_loss`.
        momentum: of the teacher.
        feature_form, student_temperature, teacher_temperature: see
            :func:`~pretrain.losses.feature_guided_loss`.
        centre_momentum: see :func:`~pretrain.losses.next_centre`.
        mask_rate, mask_share, random_share: see :func:`~pretrain.losses.mask_tokens`.
        mask_id: token that hides others; None: the tokenizer's, see
            :class:`~pretrain.r2d2.masked_text.SpecialIds`.
    """

    pre_ranking: float = 1.0
    ranking: float = 1.0
    target_guided: float = 0.0
    feature_guided: float = 0.0
    mlm: float = 0.0
    temperature: float = 0.07
    same_text: bool = False
    negatives: str = 'all'
    class_weights: tuple[float, float] = (1.0, 2.0)
    double_softmax: bool = False
    alpha: float = 0.4
    alpha_steps: int = 0
    queue_size: int = 57600
    queue_decay: float = 0.99
    weighting: str = 'loss'
    momentum: float = 0.995
    feature_form: str = 'cosine'
    student_temperature: float = 0.1
    teacher_temperature: float = 0.04
    centre_momentum: float = 0.9
    mask_rate: float = 0.15
    mask_share: float = 0.8
    random_share: float = 0.1
    mask_id: int | None = None

    @property
    def has_teacher(self) -> bool:
        """Whether a term needs the momentum teacher."""
        return bool(self.target_guided or self.feature_guided)

    @property
    def has_masked_text(self) -> bool:
        """Whether a term needs texts with hidden tokens."""
        return bool(self.feature_guided or self.mlm)

    @property
    def has_ranker(self) -> bool:
        """Whether a term needs the joint encoders."""
        return bool(self.ranking or self.mlm)


PRESETS = {
    # github.com/yuxie11/R2D2, models/r2d2_retrieval.py
    'fine_tuning': R2D2Losses(),
    # arXiv:2205.03860, section 4: pre-ranking against the teacher's targets, ranking,
    # masked words, features of masked texts. Weights, momentum and sizes are our
    # reading: equal weights, ALBEF's share, BLIP's momentum and queue.
    'pre_training': R2D2Losses(
        pre_ranking=0.0, target_guided=1.0, feature_guided=1.0, mlm=1.0
    ),
}


def r2d2_losses(preset: str = 'fine_tuning', **changes: Any) -> R2D2Losses:
    """A preset by name, with single values changed.

    Args:
        preset: 'fine_tuning' (pre-ranking and ranking, as released) or 'pre_training'
            (our reading of the paper).
        changes: fields of :class:`R2D2Losses`.

    Raises:
        ValueError: for an unknown preset, field or form, or a number out of range.

    Example:
        >>> r2d2_losses('pre_training', alpha=0.2).ranking
        1.0
    """
    if preset not in PRESETS:
        raise ValueError(
            f'losses: preset must be one of {list(PRESETS)}, got {preset!r}'
        )
    known = [field.name for field in fields(R2D2Losses)]
    if unknown := sorted(set(changes) - set(known)):
        raise ValueError(f'losses: unknown {unknown}; a preset has {known}')
    if isinstance(changes.get('class_weights'), list):
        changes['class_weights'] = tuple(changes['class_weights'])
    chosen = replace(PRESETS[preset], **changes)
    _check(asdict(chosen))
    return chosen


def _check(values: Mapping[str, Any]) -> None:
    for name in TERMS:
        _check_number(name, values[name], 0, math.inf)
    if not any(values[name] for name in TERMS):
        raise ValueError('losses: all weights are 0; nothing would be learned')
    for name in _SHARES:
        _check_number(name, values[name], 0, 1)
    _check_number('temperature', values['temperature'], *TEMPERATURES)
    for name in ('student_temperature', 'teacher_temperature', 'queue_decay'):
        _check_number(name, values[name], 1e-6, 100 if 'temp' in name else 1)
    for name, least in dict(queue_size=1, alpha_steps=0, mask_id=0).items():
        value = values[name]
        if name == 'mask_id' and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(
                f'losses: {name} must be a whole number of {least} or more, got '
                f'{value!r}'
            )
    for name, forms in _FORMS.items():
        if values[name] not in forms:
            raise ValueError(
                f'losses: {name} must be one of {forms}, got {values[name]!r}'
            )


def _check_number(name: str, value: Any, low: float, high: float) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high or value == math.inf:
        raise ValueError(
            f'losses: {name} must be a number in [{low}, {high}], got {value!r}'
        )
