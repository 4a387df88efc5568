"""Probabilities of names among names, competitors and background."""

from __future__ import annotations

import torch
from torch import Tensor


def open_softmax(
    logits: Tensor, others: Tensor | None = None, apart: Tensor | None = None
) -> Tensor:
    """Softmax over names and what competes with them.

    A name's probability is p_c = e^l_c / (e^l_c + sum of e^l over what competes with
    it): every other column but those of names that can be right together with it.

    Args:
        logits: (n, C) of the names.
        others: (n, R) of competitors and background; None: nothing else competes.
        apart: (C, C + M) bool, False on the diagonal: whether the name of the column,
            or one of the first M columns of ``others``, does not compete with the name
            of the row; None: all do.

    Returns:
        (n, C) float32.
    """
    num_names = logits.shape[1]
    columns = logits if others is None else torch.cat([logits, others], 1)
    probabilities = columns.float().softmax(1)
    names = probabilities[:, :num_names]
    if apart is None or not apart.any():
        return names
    chosen = apart.any(1)
    competes = (~apart[chosen]).to(names)  # with itself as well
    some, always = probabilities.tensor_split([apart.shape[1]], 1)
    total = some @ competes.T + always.sum(1, keepdim=True)
    names = names.clone()
    names[:, chosen] /= total.clamp(min=torch.finfo(total.dtype).tiny)
    return names.clamp(max=1)
