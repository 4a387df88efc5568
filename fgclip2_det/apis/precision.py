"""Numeric types that a system detects in."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from fgclip2_det.apis.systems import System
from fgclip2_det.fgclip2.low_precision import (
    has_bfloat16_units,
    quantize_int8,
    to_bfloat16,
)
from fgclip2_det.io import InputError
from fgclip2_det.models.detectors.fgclip2_rescorer import FGCLIP2Rescorer

DTYPES = ('float32', 'bfloat16', 'int8')


def choose_device(device: str | torch.device | None) -> torch.device:
    """The device that is asked for; None: a CUDA device if there is one, else the CPU.

    Raises:
        ValueError: for one that PyTorch does not know, or that is not there.
    """
    if not device:
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen).tolist()  # not there, or without values ('meta')
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InputError(
            'device must be cpu, cuda, cuda:1 or mps and be there, got '
            f'{str(device) if isinstance(device, torch.device) else device!r} '
            f'({str(error).splitlines()[0]})'
        ) from error
    return chosen


def set_precision(system: System, dtype: str) -> None:
    """Change the vision tower of a system in place; other parts stay in float32.

    The text tower does, too: names are embedded once, and their embeddings and the
    cache on disk are those of float32.

    Args:
        system: on its device.
        dtype: one of :data:`DTYPES`.

    Raises:
        ValueError: int8 without a vision tower of FG-CLIP 2, or where
            :func:`.quantize_int8` refuses it.
    """
    tower = _with_tower(system)
    if dtype == 'int8':
        if tower is None:
            raise ValueError(
                "dtype 'int8' is for FG-CLIP 2's vision tower, which "
                f'{type(system.detector).__name__} has not; re-score it with an '
                "encoder, or take 'float32' or 'bfloat16'"
            )
        quantize_int8(tower)
    elif dtype == 'bfloat16':
        _warn_of_slow_products(system.model)
        if tower is not None:
            to_bfloat16(tower)


def _warn_of_slow_products(model: nn.Module) -> None:
    on_cpu = any(p.device.type == 'cpu' for p in model.parameters())
    if on_cpu and not has_bfloat16_units():
        warnings.warn(
            "dtype 'bfloat16' on a CPU without instructions for it (avx512_bf16, "
            "amx_bf16) can be many times slower than 'float32'",
            stacklevel=4,
        )


def precision(dtype: str, device: torch.device) -> AbstractContextManager:
    """What a system detects within: bfloat16 autocast for what is no vision tower."""
    if dtype != 'bfloat16':
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def _with_tower(system: System) -> nn.Module | None:
    """The module around the vision tower; None where there is none."""
    if isinstance(system.model, FGCLIP2Rescorer):
        return system.model.encoder
    backbone = getattr(system.model, 'backbone', None)
    return backbone if hasattr(backbone, 'vision_model') else None
