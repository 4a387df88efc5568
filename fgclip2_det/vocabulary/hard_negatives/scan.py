"""Language of a text, and longest-match search of terms in Chinese text."""

from __future__ import annotations

import re

from .axes import Reading
from .lexicon import Lexicon

CHINESE = re.compile('[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]')
_LOWER = {ord(c): ord(c) + 32 for c in 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'}


def language_of(text: str) -> str:
    """'zh' if a Chinese character is in the text, else 'en'."""
    return 'zh' if CHINESE.search(text) else 'en'


class CharacterIndex:
    """Finds the longest term at a character.

    Args:
        lexicon: of Chinese; its protected phrases are terms without readings.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        terms = {s: tuple(r) for s, r in lexicon.readings.items()}
        terms |= dict.fromkeys(lexicon.protected, ())
        self._by_first: dict[str, list[tuple[str, tuple[Reading, ...]]]] = {}
        for term, readings in terms.items():
            self._by_first.setdefault(term[0], []).append((term, readings))
        for candidates in self._by_first.values():
            candidates.sort(key=lambda pair: -len(pair[0]))

    def find(self, text: str, start: int) -> tuple[str, tuple[Reading, ...]] | None:
        """The longest term that starts at a character of a lower-case text."""
        for term, readings in self._by_first.get(text[start], ()):
            if text.startswith(term, start):
                return term, readings
        return None


def ascii_lower(text: str) -> str:
    """Lower case of A to Z alone: as many characters as before."""
    return text.translate(_LOWER)
