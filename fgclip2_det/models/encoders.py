"""Encoders from configs: released weights, or random weights of a given size."""

from __future__ import annotations

import torch
from torch import Tensor

from fgclip2_det.fgclip2 import FGCLIP2, FGCLIP2Config
from fgclip2_det.fgclip2.checkpoint import Weights, read_config, resolve_folder

SIZES = ('tiny', 'base', 'large', 'so400m')


def _checked(encoder: str | dict) -> dict:
    """Validated dict with 'size' or 'pretrained'; a string may be either."""
    if isinstance(encoder, str):
        encoder = {'size' if encoder in SIZES else 'pretrained': encoder}
    encoder = dict(encoder)
    unknown = set(encoder) - {'size', 'seed', 'pretrained'}
    if unknown or ('size' in encoder) == ('pretrained' in encoder):
        raise ValueError(
            "encoder must be dict(pretrained='folder or hub id') or "
            f"dict(size='tiny|base|large|so400m', seed=0), got {encoder}"
        )
    if not isinstance(encoder.get('seed', 0), int):
        raise ValueError(f'seed must be an integer, got {encoder["seed"]!r}')
    return encoder


def pretrained_folder(encoder: str | dict) -> str | None:
    """Folder or hub id of an encoder; None for random weights."""
    return _checked(encoder).get('pretrained')


def released_logits(encoder: FGCLIP2 | str) -> tuple[Tensor, Tensor]:
    """``logit_scale`` and ``logit_bias`` of an encoder or its folder."""
    if isinstance(encoder, str):
        weights = Weights(resolve_folder(encoder))
        return weights['logit_scale'], weights['logit_bias']
    return encoder.logit_scale, encoder.logit_bias


def encoder_config(encoder: str | dict) -> FGCLIP2Config:
    """Config of an encoder, without loading its weights."""
    encoder = _checked(encoder)
    if 'size' in encoder:
        return FGCLIP2Config.from_size(encoder['size'])
    folder = resolve_folder(encoder['pretrained'])
    return FGCLIP2Config.from_dict(read_config(folder), Weights(folder).shapes())


def build_encoder(encoder: str | dict, towers: str = 'both') -> FGCLIP2:
    """The encoder of a config, or one of its towers ('vision', 'text').

    Args:
        encoder: ``dict(pretrained='folder or hub id')`` for weights in the
            released layout, or ``dict(size='base', seed=0)`` for random ones;
            a plain string is either.
        towers: both towers of one encoder fit together when built apart.
    """
    encoder = _checked(encoder)
    if 'pretrained' in encoder:
        return FGCLIP2.from_pretrained(encoder['pretrained'], towers=towers)
    generator = torch.Generator().manual_seed(encoder.get('seed', 0))
    return FGCLIP2.from_size(encoder['size'], towers=towers, generator=generator)
