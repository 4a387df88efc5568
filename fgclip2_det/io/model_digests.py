"""Digests of models: all bytes of their weights, and their settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

_BLOCK = 4096  # int64 values that one checksum covers


# tensor -> (its state when it was read, digest of its bytes)
_KNOWN: WeakIdKeyDictionary = WeakIdKeyDictionary()


def encoder_digest(
    weights: nn.Module | Mapping[str, Tensor], settings: object = None
) -> str:
    """SHA-256 of a model, or of a part of one: every byte of its weights, and what else
    its outputs depend on.

    Names, dtypes, shapes and values of the tensors count; their order, strides and
    device do not. Bytes are hashed again only where a tensor has changed since the last
    call; otherwise a call costs a checksum of the weights, a sixth of the time.

    Args:
        weights: a module, or tensor name -> tensor. Of a module's own tensors
            (``state_dict(keep_vars=True)``) the digests are remembered.
        settings: plain values for JSON: sizes that no shape shows, options of a
            transform, a tokenizer's digest; ``FGCLIP2.settings()``.

    Returns:
        64 hexadecimal digits, the same in every process.

    Raises:
        ValueError: tensors on the meta device, which have no values.

    Example:
        >>> encoder_digest(nn.Linear(2, 2)) == encoder_digest(nn.Linear(2, 2))
        False
    """
    if isinstance(weights, nn.Module):
        weights = weights.state_dict(keep_vars=True)
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, tensor in sorted(weights.items()):
        digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)} '.encode())
        digest.update(_tensor_digest(name, tensor))
    return digest.hexdigest()


def _tensor_digest(name: str, tensor: Tensor) -> bytes:
    """SHA-256 of the bytes, remembered as long as the tensor lives unchanged."""
    if tensor.is_meta:
        raise ValueError(
            f'{name} is on the meta device and has no values; load weights first'
        )
    content = _bytes(tensor)
    state = _state(tensor, content)
    known = _KNOWN.get(tensor)
    if known is None or known[0] != state:
        known = _KNOWN[tensor] = state, hashlib.sha256(content.data).digest()
    return known[1]


def _bytes(tensor: Tensor) -> np.ndarray:
    """(n,) uint8 in row-major order; shares the memory of a contiguous CPU tensor."""
    plain = tensor.detach().cpu().contiguous().reshape(-1)
    return plain.view(torch.uint8).numpy()


def _state(tensor: Tensor, content: np.ndarray) -> tuple:
    """A value that differs when a tensor was changed.

    The version counter sees PyTorch's in-place operations, but neither ``.data`` nor
    fused optimizers nor NumPy, so a checksum of the content is part of it.
    """
    version = None if tensor.is_inference() else tensor._version
    layout = tensor.dtype, tensor.device, tuple(tensor.shape), tensor.stride()
    return version, tensor.data_ptr(), layout, _checksum(content)


def _checksum(content: np.ndarray) -> bytes:
    """Sums of the values times odd numbers, one per place, modulo 2 ** 64; five times
    as fast as SHA-256."""
    whole = len(content) // (8 * _BLOCK) * _BLOCK
    values = content[: 8 * whole].view(np.int64).reshape(-1, _BLOCK)
    sums = np.einsum('ij,j->i', values, _factors())
    rest = hashlib.sha256(content[8 * whole :].data)
    rest.update(sums.tobytes())
    return rest.digest()


@cache
def _factors() -> np.ndarray:
    """(_BLOCK,) odd int64."""
    generator = np.random.default_rng(0)
    return generator.integers(-(2**62), 2**62, _BLOCK) * 2 + 1
