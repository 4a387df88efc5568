"""Which parts of an encoder the terms of a preset reach."""

from __future__ import annotations

from typing import Any, cast

from torch import nn

from fgclip2_det.fgclip1 import FGCLIP1
from fgclip2_det.fgclip2 import FGCLIP2, DualEncoder
from pretrain.presets import LossPreset


def text_heads(encoder: DualEncoder) -> list[nn.Module]:
    """Projections of texts outside the text tower."""
    if isinstance(encoder, FGCLIP1):
        return [encoder.text_projection, encoder.text_filip_projection]
    second = cast(FGCLIP2, encoder)
    return [second.boxtext_head, second.longtext_head]


def parts_in_use(encoder: DualEncoder, preset: LossPreset) -> list[tuple[Any, bool]]:
    """Modules and parameters, each with whether a term of the preset reaches it.

    A part's part comes later, so that freezing one by one leaves what is in use.
    """
    captions = bool(preset.short or preset.long)
    pooled = bool(preset.fgv or preset.fgt or preset.itc or preset.cmr)
    tables = encoder.text_model.embeddings
    shared: list[tuple[Any, bool]] = [
        (encoder.vision_model, captions or pooled),
        (encoder.logit_scale, captions),
        (tables.position_embedding, bool(preset.short or preset.regions)),
        (tables.position_embedding_ori, bool(preset.long)),
        (tables.position_embedding_res, bool(preset.long)),
    ]
    if isinstance(encoder, FGCLIP1):
        attention = encoder.vision_model.last.self_attn  # regions take its values alone
        return [
            *shared,
            (attention.q_proj, captions),
            (attention.k_proj, captions),
            (encoder.visual_projection, captions or pooled),
            (encoder.text_projection, bool(preset.short or preset.regions)),
            (encoder.text_filip_projection, bool(preset.long)),
        ]
    second = cast(FGCLIP2, encoder)
    return [
        *shared,
        (second.vision_model.head, captions),
        (second.logit_bias, captions and preset.global_form == 'sigmoid'),
        (second.dense_feature_head, pooled),
        (second.dense_feature_head.probe, False),  # no path leads there
        (second.boxtext_head, preset.regions),
        (second.text_model.head, bool(preset.short)),
        (second.longtext_head, bool(preset.long)),
    ]
