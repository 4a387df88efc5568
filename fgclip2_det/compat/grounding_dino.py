"""MMDetection's Grounding DINO, and GLIP's BERT, on today's packages.

- transformers 5: BERT is written for version 4, where tokenizers had
  ``batch_encode_plus`` and a mask could be (B, N, N).
- onedl-mmdetection 3.5.1: DINO's decoder encodes a box by twice as many numbers as
  before (its issue 25); Grounding DINO shares the code, but its layers stayed.
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
    """Lets MMDetection's ``GroundingDINO`` run, with released weights too."""
    init_layers = GroundingDinoTransformerDecoder._init_layers

    def _init_layers(decoder: GroundingDinoTransformerDecoder) -> None:
        init_layers(decoder)
        decoder.ref_point_head.register_forward_pre_hook(_halve_encoding)

    GroundingDinoTransformerDecoder._init_layers = _init_layers
    if transformers is not None and int(transformers.__version__.split('.')[0]) >= 5:
        bert.AutoTokenizer = _AutoTokenizer
        bert.HFBertModel = _BertModel


def _halve_encoding(head: Any, args: tuple[Tensor]) -> tuple[Tensor]:
    """(..., 1024) sines and cosines, in pairs, of four coordinates to (..., 512).

    Pair k has the wavelength T^(2k / 256); of 128 numbers a coordinate it was
    T^(2k / 128), so every other pair is the encoding that the weights know.
    """
    (encoding,) = args
    if encoding.shape[-1] != 2 * head.layers[0].in_features:
        return args
    return (encoding.unflatten(-1, (-1, 2))[..., ::2, :].flatten(-2),)


class _AutoTokenizer:
    """``transformers.AutoTokenizer`` as mmdet's BERT knows it."""

    @staticmethod
    def from_pretrained(name: str) -> Any:
        assert transformers is not None
        tokenizer = transformers.AutoTokenizer.from_pretrained(name)
        tokenizer.batch_encode_plus = tokenizer.__call__
        return tokenizer


class _BertModel:
    """``transformers.BertModel`` with masks of pairs of tokens."""

    @staticmethod
    def from_pretrained(name: str, **options: Any) -> Any:
        assert transformers is not None
        model = transformers.BertModel.from_pretrained(name, **options)
        model.register_forward_pre_hook(_widen_mask, with_kwargs=True)
        return model


def _widen_mask(model: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """(B, N, N), true where a token sees another, to what is added to all heads'
    scores: (B, 1, N, N)."""
    mask: Tensor | None = kwargs.get('attention_mask')
    if mask is not None and mask.dim() == 3:
        added = torch.zeros_like(mask, dtype=model.dtype)
        added.masked_fill_(~mask.bool(), torch.finfo(model.dtype).min)
        kwargs = {**kwargs, 'attention_mask': added[:, None]}
    return args, kwargs
