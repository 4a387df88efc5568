"""mmcv's compiled ops, given what they assume.

They know no bfloat16, so that a detector which trains in it would stop at its first
RoIAlign, and they misread a map with permuted strides, such as a neck of one's own may
give. The PyTorch ops take both; here the compiled ones get copies that suit them.
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
    """Wraps the ops of ``mmcv._ext`` that detectors need, once."""
    for name, contract in CONTRACTS.items():
        op = getattr(ext, name, None)
        if callable(op) and not hasattr(op, '__wrapped__'):
            setattr(ext, name, suited(op, name, contract))


def suited(op: Callable, name: str, contract: Contract) -> Callable:
    """``op``, with tensors copied whose strides or type it does not read.

    Where ``FGCLIP2_CHECK_OPS`` is set, strides are refused as in the PyTorch ops.
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
    """``tensor`` itself where the op reads it right."""
    if tensor.is_floating_point():
        dtype = contract.dtype
        if dtype is None and tensor.dtype == torch.bfloat16:
            dtype = torch.float32
        if dtype is not None and name not in contract.sorted:
            tensor = tensor.to(dtype)
    return tensor if name in contract.strided else tensor.contiguous()
