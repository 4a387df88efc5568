"""Tokens of texts that a frozen tower reads once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fgclip2_det.fgclip2 import DualEncoder

MAX_VALUES = 1 << 27  # of states, 0.5 GB in float32
BATCH = 64  # texts at once


class KeptTexts:
    """States, mask and embeddings of texts, each read once while it is kept.

    Where they would be more than ``max_values`` numbers, all are forgotten.

    Args:
        mode: of the texts.
        max_values: numbers of the states that are kept, padding included.

    Attributes:
        states: (M, n, W) float32, the pooled state first.
        mask: (M, n) bool, False for padding.
        embeds: (M, D) float32, L2-normalised.
    """

    states: Tensor
    mask: Tensor
    embeds: Tensor

    def __init__(self, mode: str = 'box', max_values: int = MAX_VALUES) -> None:
        self.mode, self.max_values = mode, max_values
        self._rows: dict[int, int] = {}

    @torch.no_grad()
    def __call__(self, encoder: DualEncoder, ids: Tensor, keys: Tensor) -> Tensor:
        """Rows (T,) of texts in the tables.

        Args:
            encoder: frozen, the same at every call.
            ids: (T, L).
            keys: (T,) int64; equal keys are equal texts.
        """
        if self._rows and self.states.numel() > self.max_values:
            self._rows.clear()
        known = keys.tolist()
        new = [i for i, key in enumerate(known) if key not in self._rows]
        if new or not self._rows:
            self._read(encoder, ids[new])
        for i in new:
            self._rows[known[i]] = len(self._rows)
        return keys.new_tensor([self._rows[key] for key in known])

    def _read(self, encoder: DualEncoder, ids: Tensor) -> None:
        """Add texts to the tables, or begin them."""
        parts = [
            encoder.text_tokens(some, self.mode)
            for some in (ids.split(BATCH) if len(ids) else [ids])
        ]
        embeds = [encoder.project_text(states[:, 0], self.mode) for states, _ in parts]
        embeds = F.normalize(torch.cat(embeds).float(), dim=-1)
        if self._rows:
            parts.insert(0, (self.states, self.mask))
            embeds = torch.cat([self.embeds, embeds])
        longest = max(mask.shape[1] for _, mask in parts)
        states = [F.pad(s, (0, 0, 0, longest - s.shape[1])).float() for s, _ in parts]
        masks = [F.pad(m, (0, longest - m.shape[1])) for _, m in parts]
        self.states, self.mask, self.embeds = (
            torch.cat(states),
            torch.cat(masks),
            embeds,
        )
