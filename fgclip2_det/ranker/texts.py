"""Tokens of many texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fgclip2_det.fgclip2.dual_encoder import DualEncoder

BATCH = 64  # texts at once


class BegunTexts(NamedTuple):
    """Texts as far as they are read without an image.

    Attributes:
        states: (..., L, W) of the text tower, the pooled state first.
        begun: (..., L, W) after the first self attention of the text's joint encoder,
            None without that.
        mask: (..., L) bool, False for padding, which is at the end; None: none is.
    """

    states: Tensor
    begun: Tensor | None
    mask: Tensor | None

    def reshape(self, *shape: int) -> BegunTexts:
        """Texts (T, ...) as (*shape, ...)."""
        others = (x if x is None else x.unflatten(0, shape) for x in self[1:])
        return BegunTexts(self.states.unflatten(0, shape), *others)

    def rows(self, rows: Tensor) -> BegunTexts:
        """Texts (T, ...) at rows (K, k), without padding that all of them have."""
        longest = self.states.shape[1]
        if self.mask is not None:
            longest = max(int(self.mask[rows].flatten(0, -2).any(0).sum()), 1)
        others = (None if x is None else x[:, :longest][rows] for x in self[1:])
        return BegunTexts(self.states[:, :longest][rows], *others)


@torch.no_grad()
def encode_tokens(
    encoder: DualEncoder, texts: Sequence[str], mode: str = 'box'
) -> tuple[Tensor, Tensor]:
    """:meth:`.DualEncoder.text_tokens` of any number of texts, in batches.

    Returns:
        (T, n, W) float32, the pooled state first, and (T, n) bool, False for padding,
        which is at the end; n is that of the longest text.
    """
    parts = [
        encoder.text_tokens(texts[start : start + BATCH], mode)
        for start in range(0, len(texts), BATCH)
    ]
    longest = max(mask.shape[1] for _, mask in parts)
    states = [F.pad(s, (0, 0, 0, longest - s.shape[1])) for s, _ in parts]
    masks = [F.pad(m, (0, longest - m.shape[1])) for _, m in parts]
    return torch.cat(states).float(), torch.cat(masks)
