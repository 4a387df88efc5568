"""Logits of a match and what is made of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class MatchLogits(NamedTuple):
    """Logits of K images or regions with k texts each; the last axis is (no, yes).

    Attributes:
        text: (K, k, 2) of the joint encoder of text tokens, None without it.
        image: (K, k, 2) of the joint encoder of image tokens, None without it.
    """

    text: Tensor | None
    image: Tensor | None

    @property
    def parts(self) -> list[Tensor]:
        """Those that are there, float32."""
        return [part.float() for part in self if part is not None]


def match_scores(logits: MatchLogits) -> Tensor:
    """Probability of a match (K, k): the mean over the joint encoders.

    Reference: R2D2 (arXiv:2205.03860), section 4.2; spec G, inference.
    """
    return torch.stack([part.softmax(-1)[..., 1] for part in logits.parts]).mean(0)


def match_log_odds(logits: MatchLogits) -> Tensor:
    """Log of the odds of a match (K, k): the mean over the joint encoders, which does
    not run into 0 or 1 as their probability does."""
    odds = [part[..., 1] - part[..., 0] for part in logits.parts]
    return torch.stack(odds).mean(0)
