"""Encoders from configs: released weights, or random weights of a given size."""

from __future__ import annotations

import torch
from torch import Tensor

from fgclip2_det.fgclip1 import FGCLIP1, FGCLIP1Config, load_encoder
from fgclip2_det.fgclip2 import FGCLIP2, DualEncoder, FGCLIP2Config
from fgclip2_det.fgclip2.checkpoint import Weights, resolve_folder

SIZES = ('tiny', 'base', 'large', 'so400m')
VERSIONS = {1: FGCLIP1, 2: FGCLIP2}


def _checked(encoder: str | dict) -> dict:
    """Validated dict with 'size' or 'pretrained'; a string may be either."""
    if isinstance(encoder, str):
        encoder = {'size' if encoder in SIZES else 'pretrained': encoder}
    encoder = dict(encoder)
    unknown = set(encoder) - {'size', 'seed', 'pretrained', 'version'}
    if unknown or ('size' in encoder) == ('pretrained' in encoder):
        raise ValueError(
            "encoder must be dict(pretrained='folder or hub id') or "
            f"dict(size='tiny|base|large|so400m', seed=0, version=2), got {encoder}"
        )
    if encoder.get('version', 2) not in VERSIONS or (
        'pretrained' in encoder and 'version' in encoder
    ):
        raise ValueError(
            'version must be 1 or 2, and with size alone (a folder says itself which '
            f'version it is), got {encoder}'
        )
    if not isinstance(encoder.get('seed', 0), int):
        raise ValueError(f'seed must be an integer, got {encoder["seed"]!r}')
    return encoder


def pretrained_folder(encoder: str | dict) -> str | None:
    """Folder or hub id of an encoder; None for random weights."""
    return _checked(encoder).get('pretrained')


def released_logits(encoder: DualEncoder | str) -> tuple[Tensor, Tensor | float]:
    """``logit_scale`` and ``logit_bias`` of an encoder or its folder; a bias of 0 for
    FG-CLIP 1 and CLIP, which have none."""
    if isinstance(encoder, str):
        weights = Weights(resolve_folder(encoder))
        known = 'logit_bias' in weights
        return weights['logit_scale'], weights['logit_bias'] if known else 0.0
    scale, bias = encoder.logit_parameters()
    return scale, 0.0 if bias is None else bias


def meta_encoder(encoder: str | dict, towers: str = 'both') -> DualEncoder:
    """An encoder without values, whose weights are not loaded."""
    encoder = _checked(encoder)
    if 'size' in encoder:
        kind = VERSIONS[encoder.get('version', 2)]
        return kind.from_size(encoder['size'], towers=towers, device='meta')
    folder = resolve_folder(encoder['pretrained'])
    weights = Weights(folder)
    with torch.device('meta'):
        if weights.kind in ('FG-CLIP 1', 'CLIP'):
            config = FGCLIP1Config.of_folder(folder, weights.shapes())
            return FGCLIP1(config, towers=towers)
        shapes = weights.shapes()
        return FGCLIP2(FGCLIP2Config.of_folder(folder, shapes), towers=towers)


def build_encoder(encoder: str | dict, towers: str = 'both') -> DualEncoder:
    """The encoder of a config, or one of its towers ('vision', 'text').

    Args:
        encoder: ``dict(pretrained='folder or hub id')`` for weights in the
            released layout, or ``dict(size='base', seed=0)`` for random ones, of
            FG-CLIP 1 with ``version=1``; a plain string is either.
        towers: both towers of one encoder fit together when built apart.
    """
    encoder = _checked(encoder)
    if 'pretrained' in encoder:
        return load_encoder(encoder['pretrained'], towers=towers)
    generator = torch.Generator().manual_seed(encoder.get('seed', 0))
    kind = VERSIONS[encoder.get('version', 2)]
    return kind.from_size(encoder['size'], towers=towers, generator=generator)


def text_source(
    encoder: str | dict, cache_dir: str | None, kept: list[DualEncoder] | None
) -> DualEncoder | str:
    """The encoder argument of ``Vocabulary.embed``: a folder of weights, read only if
    the disk cache lacks the embeddings, or a text tower.

    Args:
        encoder: as in ``build_encoder``.
        cache_dir: of the text embeddings.
        kept: holds the text tower between calls; None keeps none.
    """
    if kept:
        return kept[0]
    folder = pretrained_folder(encoder)
    if cache_dir is not None and folder is not None and kept is None:
        return folder
    tower = build_encoder(encoder, towers='text')
    if kept is not None:
        kept.append(tower)
    return tower
