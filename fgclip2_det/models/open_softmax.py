"""Probabilities of names among names, competitors and background."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

LARGE = 1 << 21  # entries of ``apart`` from which it may be treated as sparse
MAX_FILLED = 0.02  # of them True, if it is
ROWS = 128  # regions at once, of a size that caches hold
_FREE = WeakIdKeyDictionary()  # of each large ``apart``


def open_softmax(
    logits: Tensor, others: Tensor | None = None, apart: Tensor | None = None
) -> Tensor:
    """Softmax over names and what competes with them.

    A name's probability is p_c = e^l_c / (e^l_c + sum of e^l over what competes with
    it): every other column but those that can be right together with it.

    Args:
        logits: (n, C) of the names.
        others: (n, R) of competitors and background; None: nothing else competes.
        apart: (C, C + T) bool: whether the name of the row is free of the column, which
            is a name (False on the diagonal) or one of the first T of the others; None:
            everything competes.

    Returns:
        (n, C) float32.
    """
    num_names = logits.shape[1]
    columns = logits if others is None else torch.cat([logits, others], 1)
    if torch.compiler.is_compiling():
        return _traced(columns, num_names, apart)
    if apart is not None and apart.numel() > LARGE:
        free = _free_of(apart)
        if free is not None:
            return _sparse(columns, free)
    probabilities = columns.float().softmax(1)
    names = probabilities[:, :num_names]
    if apart is None or not apart.any():
        return names
    chosen = apart.any(1)
    competes = (~apart[chosen]).to(names)  # with itself as well
    some, rest = probabilities.split(
        [apart.shape[1], columns.shape[1] - apart.shape[1]], 1
    )
    total = some @ competes.T + rest.sum(1, keepdim=True)
    names = names.clone()
    names[:, chosen] /= total.clamp(min=torch.finfo(total.dtype).tiny)
    return names.clamp(max=1)


def _traced(columns: Tensor, num_names: int, apart: Tensor | None) -> Tensor:
    """The same without a look at the values, for exported graphs."""
    probabilities = columns.float().softmax(1)
    names = probabilities[:, :num_names]
    if apart is None:
        return names
    rest = columns.shape[1] - apart.shape[1]
    competes = F.pad((~apart).to(names), (0, rest), value=1.0)
    total = probabilities @ competes.T
    names = names / total.clamp(min=torch.finfo(total.dtype).tiny)
    return names.clamp(max=1)


def _sparse(columns: Tensor, free: Tensor) -> Tensor:
    """The same for thousands of names of which few can be right together.

    What does not compete is subtracted from the whole, in float64: a name's probability
    is exact to 1e-7 as long as what competes with it, itself included, has more than
    1e-9 of the whole.

    Args:
        columns: (n, C + R) logits.
        free: (C, C + T) sparse float64, 1 where ``apart`` is True.
    """
    num_names, num_columns = free.shape
    names = columns.new_empty(len(columns), num_names, dtype=torch.float32)
    for start in range(0, len(columns), ROWS):
        part = columns[start : start + ROWS].double().softmax(1).T.contiguous()
        own = part[:num_names]
        total = torch.sparse.mm(free, part[:num_columns]).neg_().add_(1).maximum(own)
        names[start : start + ROWS] = (own / total).nan_to_num_(0.0).T
    return names


def _free_of(apart: Tensor) -> Tensor | None:
    """What every name is free of, sparse; None where that is much."""
    if apart not in _FREE:
        few = int(apart.sum()) <= MAX_FILLED * apart.numel()
        _FREE[apart] = apart.double().to_sparse() if few else None
    return _FREE[apart]
