"""Fixes for MMDetection's Grounding DINO and GLIP on current dependencies.

- transformers 5: MMDetection's BERT wrapper is written for version 4, where tokenizers
  had ``batch_encode_plus`` and an attention mask could be (B, N, N).
- onedl-mmdetection 3.5.1: DINO's decoder encodes a box with twice as many channels as
  before (its issue 25); Grounding DINO shares that code, but its layers did not change.
"""

from typing import Any

import torch
from mmdet.models.language_models import bert
from mmdet.models.layers.transformer.grounding_dino_layers import (
    GroundingDinoTransformerDecoder,
)
from torch import Tensor

try:
    import transformers
except ModuleNotFoundError:  # only detectors with a language model need it
    transformers = None


def install() -> None:
    """Make MMDetection's ``GroundingDINO`` run, including with released weights."""
    init_layers = GroundingDinoTransformerDecoder._init_layers

    def _init_layers(decoder: GroundingDinoTransformerDecoder) -> None:
        init_layers(decoder)
        decoder.ref_point_head.register_forward_pre_hook(_halve_encoding)

    GroundingDinoTransformerDecoder._init_layers = _init_layers
    if transformers is not None and int(transformers.__version__.split('.')[0]) >= 5:
        bert.AutoTokenizer = _AutoTokenizer
        bert.HFBertModel = _BertModel


def _halve_encoding(head: Any, args: tuple[Tensor]) -> tuple[Tensor]:
    """Reduce the sine encoding of four coordinates from (..., 1024) to (..., 512).

    Pair k has the wavelength T^(2k / 256). With 128 channels per coordinate it was
    T^(2k / 128), so every other pair is the encoding that the weights expect.
    """
    (encoding,) = args
    if encoding.shape[-1] != 2 * head.layers[0].in_features:
        return args
    return (encoding.unflatten(-1, (-1, 2))[..., ::2, :].flatten(-2),)


class _AutoTokenizer:
    """``transformers.AutoTokenizer`` with the interface that mmdet's BERT expects."""

    @staticmethod
    def from_pretrained(name: str) -> Any:
        assert transformers is not None
        tokenizer = transformers.AutoTokenizer.from_pretrained(name)
        tokenizer.batch_encode_plus = tokenizer.__call__
        return tokenizer


class _BertModel:
    """``transformers.BertModel`` that accepts (B, N, N) attention masks."""

    @staticmethod
    def from_pretrained(name: str, **options: Any) -> Any:
        assert transformers is not None
        model = transformers.BertModel.from_pretrained(name, **options)
        model.register_forward_pre_hook(_widen_mask, with_kwargs=True)
        return model


def _widen_mask(model: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """Turn a (B, N, N) mask, true where attention is allowed, into an additive one
    of shape (B, 1, N, N)."""
    mask: Tensor | None = kwargs.get('attention_mask')
    if mask is not None and mask.dim() == 3:
        added = torch.zeros_like(mask, dtype=model.dtype)
        added.masked_fill_(~mask.bool(), torch.finfo(model.dtype).min)
        kwargs = {**kwargs, 'attention_mask': added[:, None]}
    return args, kwargs
