"""Competitors: texts that share the softmax with the names asked for, unreported.

A softmax over the names that happen to be given makes few names a forced choice, and
one name a certainty. With the names of the training, and what their words combine to,
as further entries, a box that is none of the names asked for has somewhere to go. Which
texts compete is decided in :mod:`.competitor_rules`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fgclip2_det.vocabulary import competitor_rules as rules
from fgclip2_det.vocabulary.competitor_rules import (
    MIN_WORLD,
    SAME_MEANING,
    CompetitorOptions,
    combine_names,
    combined_names,
    split_words,
)
from fgclip2_det.vocabulary.negatives import Negatives

__all__ = [
    'MIN_WORLD',
    'SAME_MEANING',
    'CompetitorOptions',
    'Competitors',
    'add_negatives',
    'combine_names',
    'combined_names',
    'select_competitors',
    'split_words',
    'tells_apart',
]


@dataclass(frozen=True)
class Competitors:
    """What the names of one vocabulary compete with.

    Attributes:
        names: S texts.
        embeds: (S, D) float32, L2-normalised.
        apart: (C, C + T) bool: whether the column, a name or one of the first T texts,
            does not compete with the name of the row, because both can be right for a
            box, or because it is an outsider. False on the diagonal.
        known: (C,) bool: names of the vocabulary that the training had boxes of, be it
            in other words or in another language.
    """

    names: tuple[str, ...]
    embeds: Tensor
    apart: Tensor
    known: Tensor

    def rivals(self, label: int) -> list[str]:
        """The texts that one name competes with, unreported."""
        free = self.apart[label, len(self.apart) :].tolist()
        free += [False] * (len(self.names) - len(free))
        return [n for n, gone in zip(self.names, free, strict=True) if not gone]

    @classmethod
    def none(cls, num_classes: int, embed_dims: int) -> Competitors:
        """Every name competes with every other one, and with nothing else."""
        apart = torch.zeros(num_classes, num_classes, dtype=torch.bool)
        return cls((), torch.zeros(0, embed_dims), apart, apart.any(1))


def select_competitors(
    aliases: Sequence[Sequence[str]],
    embeds: Tensor,
    candidates: Sequence[str],
    candidate_embeds: Tensor,
    trained: Sequence[str] = (),
    combined: Sequence[str] = (),
    same_meaning: float = SAME_MEANING,
    shown: Sequence[str] = (),
) -> Competitors:
    """Competitors of a vocabulary: candidates that are wrong wherever a name is right.

    The rules and the arguments are those of :func:`.choose_competitors`, with tensors
    on any device for (C, D) ``embeds`` and (K, D) ``candidate_embeds``, L2-normalised.
    """
    candidate_embeds = candidate_embeds.to(embeds)
    choice = rules.choose_competitors(
        aliases,
        _array(embeds),
        candidates,
        _array(candidate_embeds),
        trained,
        combined,
        same_meaning,
        shown,
    )
    return Competitors(
        tuple(candidates[i] for i in choice.kept),
        candidate_embeds[choice.kept],
        torch.from_numpy(choice.apart),
        torch.from_numpy(choice.known),
    )


def add_negatives(
    competitors: Competitors, negatives: Negatives, embeds: Tensor
) -> Competitors:
    """Competitors with negative prompts in front of them: :func:`.place_negatives`.

    Args:
        competitors: of C names.
        negatives: N texts.
        embeds: (N, D) of them, L2-normalised.
    """
    apart = competitors.apart.cpu().numpy()
    order, apart = rules.place_negatives(competitors.names, apart, negatives)
    names = (*negatives.texts, *competitors.names)
    rows = torch.cat([embeds.to(competitors.embeds), competitors.embeds])
    return replace(
        competitors,
        names=tuple(names[i] for i in order),
        embeds=rows[order],
        apart=torch.from_numpy(apart),
    )


def tells_apart(embeds: Tensor, same_meaning: float) -> bool:
    """See :func:`.competitor_rules.tells_apart`."""
    return rules.tells_apart(_array(embeds), same_meaning)


def _array(embeds: Tensor) -> np.ndarray:
    return embeds.detach().float().cpu().numpy()
