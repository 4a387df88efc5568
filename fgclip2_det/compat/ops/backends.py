"""Helpers of the ops: compute dtype and torchvision's kernels."""

import functools
import warnings
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor


def compute_dtype(tensor: Tensor) -> torch.dtype:
    """float64 for float64 input, float32 for everything else."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


@functools.cache
def torchvision_ops() -> Any | None:
    """``torch.ops.torchvision``, or None if torchvision cannot be imported."""
    if find_spec('torchvision') is None:
        return None
    try:
        import_module('torchvision')  # registers its ops
    except (ImportError, OSError, RuntimeError) as error:  # built for another torch
        warnings.warn(f'torchvision is installed but not used: {error}', stacklevel=2)
        return None
    return torch.ops.torchvision
