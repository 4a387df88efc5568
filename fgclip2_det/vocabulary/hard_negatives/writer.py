"""Generation of hard negatives: texts that differ from a caption in one attribute."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from fgclip2_det.io import InputError

from .axes import LANGUAGES
from .chinese import Chinese
from .english import English
from .grammar import Grammar, Option
from .lexicon import Lexicon, built_in, read_lexicon
from .overlap import NameMatcher
from .scan import language_of

MAX_CAPTION = 20_000  # letters; FineHARD's longest have some 2,000
_GRAMMARS = {'en': English, 'zh': Chinese}


@cache
def _grammar(language: str) -> Grammar:
    return _GRAMMARS[language](Lexicon(language, built_in(language)))


def _add_words(language: str, content: Mapping) -> Grammar:
    return _GRAMMARS[language](Lexicon(language, built_in(language), content))


class HardNegativeWriter:
    """Writes texts that differ from a caption in exactly one attribute word.

    Colour, shape, material, size, pattern, count and relation words are replaced by
    one that contradicts them: never by a near-synonym, in the same form, with
    matching articles, plurals and measure words. Attribute families take turns, then
    the slots of a family, so that the kind of word does not give a negative away.

    Of a long caption the first :data:`.grammar.MAX_SEARCHED` characters are searched,
    and :data:`.grammar.MAX_SLOTS` attributes: the search grows with their square.

    Only the text is used, not the image: a negative may happen to be true of another
    object in it. Ambiguous words are left unchanged; a caption without attributes gets
    no negatives.

    Args:
        num: maximum number of texts.
        seed: seed of the choice; the same seed and caption give the same texts.
        forbidden: names that no negative may contain, in either language, such as
            the novel classes of an evaluation.
        lexicon: more words, a file for or a result of :func:`read_lexicon`.

    Raises:
        ValueError: if ``num`` is below 1, a name is empty or the lexicon is invalid.

    Example:
        >>> HardNegativeWriter(num=1, seed=15).write('a red apple')
        ['an orange apple']
    """

    def __init__(
        self,
        num: int = 10,
        seed: int = 0,
        forbidden: Iterable[str] = (),
        lexicon: Mapping[str, Mapping] | Path | str | None = None,
    ) -> None:
        if not isinstance(num, int) or num < 1:
            raise ValueError(f'num must be a whole number of at least 1, got {num!r}')
        if isinstance(lexicon, Path | str):
            lexicon = read_lexicon(lexicon)
        self.num = num
        self.seed = seed
        self.grammars = {
            language: _add_words(language, lexicon[language])
            if lexicon and language in lexicon
            else _grammar(language)
            for language in LANGUAGES
        }
        lexicons = [grammar.lexicon for grammar in self.grammars.values()]
        self.forbidden = NameMatcher(forbidden, lexicons)

    def write(self, text: str, language: str | None = None) -> list[str]:
        """Up to ``num`` distinct texts, fewer where the caption has few attributes.

        Args:
            text: a caption or a phrase.
            language: 'en' or 'zh'; None looks for Chinese characters.

        Raises:
            ValueError: ``text`` is not a string, or an unknown language.
        """
        if not isinstance(text, str):
            raise ValueError(f'a caption must be a text, got {text!r:.80}')
        if len(text) > MAX_CAPTION:
            raise InputError(
                f'a caption of {len(text):,} letters, at most {MAX_CAPTION:,} are '
                f'read: {text!r:.80}'
            )
        language = language or language_of(text)
        if language not in self.grammars:
            raise ValueError(f'language must be one of {LANGUAGES}, got {language!r}')
        grammar = self.grammars[language]
        sentence, options = grammar.options(text)
        negatives: dict[str, str] = {}
        for option in self._in_turn(text, options):
            negative = grammar.write(sentence, option)
            key = negative.lower()
            if key == text.lower() or key in negatives or self.forbidden.find(negative):
                continue
            negatives[key] = negative
            if len(negatives) == self.num:
                break
        return list(negatives.values())

    def _in_turn(self, text: str, options: Sequence[Option]) -> Iterator[Option]:
        """All options: families take turns, then the slots of a family."""
        digest = hashlib.blake2b(f'{self.seed}\n{text}'.encode(), digest_size=8)
        rng = random.Random(int.from_bytes(digest.digest(), 'big'))
        families: dict[str, dict[int, list[tuple[float, Option]]]] = {}
        for option in options:
            slots = families.setdefault(option.slot.axis.family, {})
            # the smaller -log(u) / weight, the earlier: drawing without replacement
            key = -math.log(1 - rng.random()) / option.weight
            slots.setdefault(option.slot.start, []).append((key, option))
        queues = []
        for slots in families.values():
            ranked = [_ranked(options) for options in slots.values()]
            rng.shuffle(ranked)
            queues.append(_round_robin(ranked))
        rng.shuffle(queues)
        yield from _round_robin(queues)


def _ranked(keyed: list[tuple[float, Option]]) -> list[Option]:
    """Options by key, one spelling an entry."""
    options = [option for _, option in sorted(keyed, key=lambda pair: pair[0])]
    chosen: dict[tuple[str, str], Option] = {}
    for option in options:
        chosen.setdefault((option.entry.name, option.shade), option)
    return list(chosen.values())


def _round_robin(queues: Iterable[Iterable]) -> Iterator:
    """First items of all queues, then second items, until all are empty."""
    waiting = [iter(queue) for queue in queues]
    while waiting:
        left = []
        for queue in waiting:
            for item in queue:
                yield item
                left.append(queue)
                break
        waiting = left
