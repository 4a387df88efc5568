"""Which weights of R2D2's training model learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from fgclip2_det.fgclip1 import FGCLIP1
from pretrain.presets import LossPreset
from pretrain.used_parts import parts_in_use, text_heads

if TYPE_CHECKING:
    from pretrain.r2d2.alignment import R2D2Alignment


def freeze_unused(model: R2D2Alignment, freeze_text: bool) -> None:
    """Weights that no term reaches get no gradient, hence no weight decay.

    Args:
        model: with encoder, ranker and temperature.
        freeze_text: the text tower and its heads, too.
    """
    encoder, options = model.encoder, model.options
    preset = LossPreset(
        short=float(model.captions == 'short'),
        long=float(model.captions == 'long'),
        fgv=0.0,
        fgt=0.0,
        itc=0.0,
        tic=0.0,
        cmr=0.0,
        global_form='softmax',
    )
    for part, is_used in parts_in_use(encoder, preset):
        if not is_used:
            part.requires_grad_(False)
    for name, parameter in encoder.named_parameters():
        if name.startswith('logit_'):  # temperatures of other losses
            parameter.requires_grad_(False)
    similar = bool(options.pre_ranking or options.target_guided)
    if not similar:
        model.temperature.requires_grad_(False)
        _freeze_embeddings(encoder, options.feature_guided > 0)
    model.freeze_vision |= not (similar or options.has_ranker)  # nothing reads images
    if model.freeze_vision:
        encoder.vision_model.requires_grad_(False)
    if freeze_text:
        for part in (encoder.text_model, *text_heads(encoder)):
            part.requires_grad_(False)
    if not options.ranking:
        for name, part in model.ranker.named_children():
            is_read = name == 'text_joint' and options.mlm > 0
            part.requires_grad_(is_read)


def _freeze_embeddings(encoder: Any, texts: bool) -> None:
    """Projections to embeddings that nothing compares; the texts' unless ``texts``."""
    heads: list[nn.Module] = []
    if isinstance(encoder, FGCLIP1):
        heads.append(encoder.visual_projection)
    if not texts:
        heads += [*text_heads(encoder)]
        if not isinstance(encoder, FGCLIP1):
            heads.append(encoder.text_model.head)
    for head in heads:
        head.requires_grad_(False)
