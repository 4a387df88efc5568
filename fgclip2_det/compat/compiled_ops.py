"""Wrappers that convert the inputs of mmcv's compiled ops to what the ops support.

The compiled ops do not support bfloat16, so training in it would fail at the first
RoIAlign, and they misread feature maps with permuted strides, which a custom neck may
return. The PyTorch ops accept both; the compiled ones are passed converted copies.
"""

import functools
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from fgclip2_det.compat.ops.contracts import (
    CONTRACTS,
    OUTPUTS,
    SWITCH,
    Contract,
    check,
    tensors_of,
)


def install(ext: ModuleType) -> None:
    """Wrap the ops of ``mmcv._ext`` that detectors need, once."""
    for name, contract in CONTRACTS.items():
        op = getattr(ext, name, None)
        if callable(op) and not hasattr(op, '__wrapped__'):
            setattr(ext, name, suited(op, name, contract))


def suited(op: Callable, name: str, contract: Contract) -> Callable:
    """``op``, with tensors of unsupported strides or dtype converted first.

    If ``FGCLIP2_CHECK_OPS`` is set, unsupported strides raise, as in the PyTorch ops.
    """

    @functools.wraps(op)
    def call(*args: Any, **kwargs: Any) -> Any:
        if os.environ.get(SWITCH):
            check(name, args, kwargs)
        given = tensors_of(name, args, kwargs)
        used = {key: _suit(key, x, contract) for key, x in given.items()}
        if all(used[key] is x for key, x in given.items()):
            return op(*args, **kwargs)
        first = [used[key] for key in list(given)[: len(args)]]
        rest = {key: used.get(key, value) for key, value in kwargs.items()}
        result = op(*first, *args[len(first) :], **rest)
        for key in OUTPUTS & given.keys():
            if used[key] is not given[key]:
                given[key].copy_(used[key])
        if isinstance(result, Tensor) and result.is_floating_point():
            return result.to(next(iter(given.values())).dtype)
        return result

    return call


def _suit(name: str, tensor: Tensor, contract: Contract) -> Tensor:
    """A tensor that the op supports; ``tensor`` itself if it already does."""
    if tensor.is_floating_point():
        dtype = contract.dtype
        if dtype is None and tensor.dtype == torch.bfloat16:
            dtype = torch.float32
        if dtype is not None and name not in contract.sorted:
            tensor = tensor.to(dtype)
    return tensor if name in contract.strided else tensor.contiguous()
