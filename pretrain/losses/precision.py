"""Losses are computed in float32, whatever the embeddings' dtype and autocast.

A logit is about 100 in size; bfloat16 has steps of 0.5 there.
"""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec('P')
R = TypeVar('R')


def full_precision(*tensors: Tensor) -> list[Tensor]:
    """The tensors in float32, or all in float64 when one of them is float64."""
    wide = any(x.dtype == torch.float64 for x in tensors)
    return [x.to(torch.float64 if wide else torch.float32) for x in tensors]


def without_autocast(loss: Callable[P, R]) -> Callable[P, R]:
    """Decorator: run with autocast off on the device of the first argument."""

    @functools.wraps(loss)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        first: Any = args[0] if args else next(iter(kwargs.values()))
        with torch.autocast(first.device.type, enabled=False):
            return loss(*args, **kwargs)

    return run
