"""Presets of loss weights and forms: the paper's, the released code's, the default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from pretrain.losses import hard_negatives, region_text, tic
from pretrain.losses.sigmoid import SAME_TEXT


@dataclass(frozen=True)
class LossPreset:
    """Weights and forms of the loss terms; a term of weight 0 is not computed.

    Attributes:
        short, long: weights of the losses of short and long captions.
        fgv: weight of region-text contrast.
        fgt: weight of a region's hard negatives.
        itc: weight of the released code's contrast over all hard texts.
        tic: weight of textual intra-modal contrast.
        cmr: weight of the cross-modal rank loss.
        global_form: of the captions' losses: 'sigmoid', or 'softmax', which is
            :func:`~pretrain.losses.contrastive_loss`.
        same_text: see :func:`~pretrain.losses.sigmoid_loss`.
        fgv_form: see :func:`~pretrain.losses.region_text_loss`.
        fgt_form: see :func:`~pretrain.losses.hard_negative_loss`.
        tic_similar, tic_reduction: see :func:`~pretrain.losses.tic_loss`.
        cmr_scaled: whether CMR compares cosines times exp(logit_scale_hardneg).
        cmr_per_negative: one threshold per place among the negatives, or one for all.
        cmr_clamp: limits of the threshold, in CMR's unit; None for none.
    """

    short: float = 1.0
    long: float = 1.0
    fgv: float = 0.1
    fgt: float = 0.5
    itc: float = 0.0
    tic: float = 0.1
    cmr: float = 0.4
    global_form: str = 'sigmoid'
    same_text: str = 'negative'
    fgv_form: str = 'identity'
    fgt_form: str = 'binary'
    tic_similar: str = 'remove'
    tic_reduction: str = 'sum'
    cmr_scaled: bool = False
    cmr_per_negative: bool = True
    cmr_clamp: tuple[float, float] | None = None

    @property
    def regions(self) -> bool:
        """Whether any term looks at regions (stage 2)."""
        return any((self.fgv, self.fgt, self.itc, self.tic, self.cmr))


PRESETS = {
    # arXiv:2510.10921, section 3.2 with equations 1 to 4; spec D.1
    'paper': LossPreset(),
    # github.com/360CVGroup/FG-CLIP, fgclip2/train; spec D.2, its table's right column.
    # One threshold and [0, 10] are in units of cosine * exp(logit_scale_hardneg).
    'released': LossPreset(
        fgv=0.2,
        fgt=0.5 * 3,
        itc=0.5 * 0.6,
        tic=0.1,
        cmr=0.5 * 0.4,
        fgt_form='softmax',
        tic_similar='zero',
        tic_reduction='mean',
        cmr_scaled=True,
        cmr_per_negative=False,
        cmr_clamp=(0.0, 10.0),
    ),
    # github.com/360CVGroup/FG-CLIP, branch v1.0, fgclip/model: InfoNCE of both captions
    # over all processes, regions of one process, eleven hard texts (arXiv:2505.05071,
    # section 3). One scale for captions, one for regions, one for hard texts.
    'fgclip1': LossPreset(
        fgv=0.1,
        fgt=0.5,
        tic=0.0,
        cmr=0.0,
        global_form='softmax',
        fgv_form='local',
        fgt_form='softmax',
    ),
    # For a small model on data whose texts repeat: a phrase that two regions share is
    # right for both. Of the three it finds the names of base boxes and short captions
    # best on OVShapes, and no other is better on novel boxes: three seeds of
    # tools/ablate_pretrain.py, with FGT at five times FGV on scenes (docs/pretrain.md).
    'default': LossPreset(
        short=0.1,
        long=0.1,
        fgv=1.0,
        fgt=0.5,
        tic=0.1,
        cmr=0.4,
        same_text='positive',
        fgv_form='distinct',
        fgt_form='softmax',
        tic_reduction='mean',
    ),
}
_FORMS = {
    'global_form': ('sigmoid', 'softmax'),
    'same_text': SAME_TEXT,
    'fgv_form': region_text.FORMS,
    'fgt_form': hard_negatives.FORMS,
    'tic_similar': tic.SIMILAR,
    'tic_reduction': tic.REDUCTIONS,
}
# Stage 1 is the global loss alone (FG-CLIP 2, section 3.2)
STAGE_1 = dict(fgv=0.0, fgt=0.0, itc=0.0, tic=0.0, cmr=0.0)


def loss_preset(preset: str = 'default', **changes: Any) -> LossPreset:
    """A preset by name, with single values changed.

    Args:
        preset: 'paper', 'released', 'fgclip1' or 'default'.
        changes: fields of :class:`LossPreset`; ``stage=1`` turns the region terms off.

    Raises:
        ValueError: for an unknown preset, field or form.

    Example:
        >>> loss_preset('paper', tic=0.0).fgt
        0.5
    """
    if preset not in PRESETS:
        raise ValueError(
            f'losses: preset must be one of {list(PRESETS)}, got {preset!r}'
        )
    stage = changes.pop('stage', 2)
    if stage not in (1, 2):
        raise ValueError(f'losses: stage must be 1 or 2, got {stage!r}')
    if stage == 1:
        changes = {**STAGE_1, **changes}
    known = {field.name for field in fields(LossPreset)}
    if unknown := sorted(set(changes) - known):
        raise ValueError(
            f'losses: unknown {unknown}; a preset has {sorted(known)} and stage'
        )
    if isinstance(changes.get('cmr_clamp'), list):
        changes['cmr_clamp'] = tuple(changes['cmr_clamp'])
    chosen = replace(PRESETS[preset], **changes)
    _check(asdict(chosen))
    if not (chosen.short or chosen.long or chosen.regions):
        raise ValueError('losses: all weights are 0; nothing would be learned')
    return chosen


def _check(values: Mapping[str, Any]) -> None:
    for name in ('short', 'long', 'fgv', 'fgt', 'itc', 'tic', 'cmr'):
        weight = values[name]
        if isinstance(weight, bool) or not isinstance(weight, int | float) or (
            not 0 <= weight < float('inf')
        ):  # fmt: skip
            raise ValueError(f'losses: {name} must be a weight >= 0, got {weight!r}')
    if values['global_form'] == 'softmax' and values['same_text'] != 'negative':
        raise ValueError(
            "losses: same_text must be 'negative' with global_form='softmax', which "
            f'has no other form, got {values["same_text"]!r}'
        )
    for name, forms in _FORMS.items():
        if values[name] not in forms:
            raise ValueError(
                f'losses: {name} must be one of {forms}, got {values[name]!r}'
            )
