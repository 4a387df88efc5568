"""Tokens of an English text and the attribute words among them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .axes import Reading
from .english_words import (
    CONNECTORS,
    DETERMINERS,
    FUNCTION_WORDS,
    NOUNS_IN_ED,
    NOUNS_IN_ING,
    OBJECT_MATERIALS,
    PREPOSITIONS,
    UNCOUNTED,
    VERBS,
)
from .grammar import MAX_SEARCHED, Sentence
from .inflection import is_plural
from .lexicon import Lexicon

_TOKEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)?|[^\s]")
_MAX_PHRASE = 6


@dataclass(frozen=True)
class Span:
    """Tokens ``first`` to ``last`` (exclusive) that spell an attribute."""

    first: int
    last: int
    readings: tuple[Reading, ...]

    @property
    def describes(self) -> bool:
        """Whether it may stand before a noun."""
        return any(
            r.axis.family != 'relation' and r.axis.rule != 'count'
            for r in self.readings
        )

    @property
    def is_thing(self) -> bool:
        """Whether it may be the noun itself."""
        names = {r.entry.name for r in self.readings}
        return bool(names & (OBJECT_MATERIALS | {'orange'})) or any(
            r.axis.rule == 'noun' for r in self.readings
        )


class TermIndex:
    """Finds the longest term at a token.

    Args:
        lexicon: of English; its protected phrases are terms without readings.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        terms = dict.fromkeys(lexicon.protected, ())
        terms = {**{s: tuple(r) for s, r in lexicon.readings.items()}, **terms}
        self._by_word: dict[str, list[tuple[list[str], tuple[Reading, ...]]]] = {}
        for term, readings in terms.items():
            words = term.replace('-', ' ').split()
            self._by_word.setdefault(words[0], []).append((words, readings))
        for candidates in self._by_word.values():
            candidates.sort(key=lambda term: -len(term[0]))

    def find(self, words: list[str], first: int) -> Span | None:
        """The longest term that starts at a token; hyphens in it do not matter."""
        for term, readings in self._by_word.get(words[first], ()):
            last = first + 1
            for word in term[1:]:
                if words[last : last + 1] == ['-']:
                    last += 1
                if words[last : last + 1] != [word]:
                    break
                last += 1
            else:
                return Span(first, last, readings)
        return None


class EnglishSentence(Sentence):
    """Tokens (lower case) and the attribute words among them.

    Args:
        text: an English text.
        index: what to look for.
    """

    def __init__(self, text: str, index: TermIndex) -> None:
        super().__init__(text)
        end = len(text)
        if end > MAX_SEARCHED:  # not in the middle of a word
            end = max(text.rfind(' ', 0, MAX_SEARCHED), 0)
        tokens = list(_TOKEN.finditer(text, 0, end))
        self.words = [token.group().lower() for token in tokens]
        self.starts = [token.start() for token in tokens]
        self.ends = [token.end() for token in tokens]
        self.spans: dict[int, Span] = {}
        self._phrases: dict[int, list[str]] = {}
        first = 0
        while first < len(tokens):
            span = index.find(self.words, first)
            if span and span.readings and not self._is_name(span):
                self.spans[first] = span
            first = span.last if span else first + 1
        self.span_before = {span.last: span for span in self.spans.values()}

    def word(self, i: int) -> str:
        """A token, '' outside of the text."""
        return self.words[i] if 0 <= i < len(self.words) else ''

    def _is_name(self, span: Span) -> bool:
        """'Red Sox': capitals inside a sentence that has small letters elsewhere."""
        i, after = span.first, span.last
        if i == 0 or self.words[i - 1] in '.!?:"' or after >= len(self.starts):
            return False
        letters = [self.text[start] for start in self.starts]
        capitals = sum(letter.isupper() for letter in letters)
        if capitals > len(letters) / 2:
            return False
        return letters[i].isupper() and letters[after].isupper()

    def ends_phrase(self, i: int) -> bool:
        """Whether token ``i`` is not part of the noun phrase before it."""
        word = self.word(i)
        if not word.replace("'", '').replace('’', '').isalpha():
            return True
        if word in FUNCTION_WORDS or word in VERBS:
            return True
        if word.endswith('ing') and len(word) > 4:
            return word not in NOUNS_IN_ING
        if word.endswith('ed') and word not in NOUNS_IN_ED:
            after = self.word(i + 1)
            return not after.isalpha() or after in PREPOSITIONS
        return False

    def noun_phrase(self, i: int) -> list[str]:
        """Words of the noun phrase from token ``i`` on, without its attributes.

        Its last word is an attribute that is a thing too where that is all there is:
        ['glass'] for 'striped glass'.
        """
        words, thing = [], ''
        while i < len(self.words) and len(words) < _MAX_PHRASE:
            span = self.spans.get(i)
            if span is not None and span.describes:
                thing = self.words[span.last - 1] if span.is_thing else ''
                i = span.last
                continue
            word = self.words[i]
            if word in CONNECTORS and not words:
                span = self.spans.get(i + 1)
                if span is None or not span.describes:
                    break
            elif word != '-':
                if self.ends_phrase(i):
                    break
                words.append(word)
                thing = ''
            i += 1
        return [*words, thing] if thing else words

    def object_phrase(self, i: int) -> list[str]:
        """The noun phrase after a preposition, without its determiners."""
        if i not in self._phrases:
            first = i
            while self.word(first) in DETERMINERS:
                first += 1
            self._phrases[i] = self.noun_phrase(first)
        return self._phrases[i]

    def counted(self, i: int, plural: bool) -> int | None:
        """Token of the noun that a number before token ``i`` counts.

        None where that is not certain: what follows the noun must show that the
        noun ends there and that no verb has to agree.
        """
        for j in range(i, min(i + _MAX_PHRASE, len(self.words))):
            word = self.words[j]
            if word in CONNECTORS or word == '-':
                continue
            if j not in self.spans and self.ends_phrase(j):
                return None
            closed = self._closes(j + 1)
            if plural and is_plural(word):
                if closed:
                    return j
            elif word.endswith('s') and not word.endswith('ss'):
                return None
            elif not plural and closed:
                alone = word.isalpha() and word not in UNCOUNTED
                return j if alone and not self._describes_only(j) else None
        return None

    def _describes_only(self, i: int) -> bool:
        span = self.spans.get(i)
        return span is not None and not span.is_thing

    def _closes(self, i: int) -> bool:
        word = self.word(i)
        if not word or word in '.,;!?)':
            return True
        if word in PREPOSITIONS or word in ('and', 'is', 'are', 'was', 'were'):
            return True
        return word.endswith('ing') and self.ends_phrase(i)
