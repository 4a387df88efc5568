"""What the names of a long list compete with, as a detector asks for it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence

from torch import Tensor

from fgclip2_det.vocabulary import Vocabulary
from fgclip2_det.vocabulary.competitors import CompetitorOptions, Competitors
from fgclip2_det.vocabulary.long_lists import select_among


class NamesApart:
    """Stands in for :class:`.CompetingTexts` while a long list is detected.

    Args:
        meanings: C lists of names, see :class:`.LongList`.

    Attributes:
        apart: (C, C) bool: names that can be right together; None before the first
            call.
    """

    def __init__(self, meanings: Sequence[Sequence[str]]) -> None:
        self.meanings = meanings
        self.options = CompetitorOptions(trained=False, combine=False)
        self.apart: Tensor | None = None

    def __call__(
        self,
        vocabulary: Vocabulary,
        embeds: Tensor,
        trained: Sequence[str],
        embed: Callable[[Vocabulary], Tensor],
        source: Hashable,
        parts: Mapping[str, Sequence[str]] | None = None,
    ) -> Competitors:
        """Arguments as in :class:`.CompetingTexts`; the last three are not used.

        Raises:
            ValueError: a vocabulary of another length than the list.
        """
        if len(vocabulary) != len(self.meanings):
            raise ValueError(
                f'expected the {len(self.meanings)} names of the list, got '
                f'{len(vocabulary)}; set the names through the inferencer'
            )
        found = select_among(self.meanings, embeds, trained)
        self.apart = found.apart
        return found
