"""Tokens of many texts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fgclip2_det.fgclip2.dual_encoder import DualEncoder

BATCH = 64  # texts at once


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
