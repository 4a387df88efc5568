"""Detection of forbidden names, such as novel classes, in hard negatives."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from .axes import LANGUAGES, Reading
from .english_sentence import TermIndex
from .inflection import singularize
from .lexicon import Lexicon, built_in
from .scan import CHINESE, CharacterIndex

NEGATIVE_KEYS = ('short_expr_negs', 'long_expr_negs')
_CHUNK = re.compile(f'{CHINESE.pattern}+|[^{CHINESE.pattern[1:-1]}]+')
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?|,")
_GAPS = frozenset(('and', ',', '的', '和', '与', '、'))
_MAX_EXAMPLES = 3
# what a word is equal to, the word itself first; whether it may be inside of a name
_Token = tuple[tuple[str, ...], bool]


class NameMatcher:
    """Finds names in texts, however they are inflected.

    A name matches where its words follow one another, singular or plural, regardless of
    case, hyphens and underscores ('Black_cats' in 'two black cats'), with synonyms that
    the lexicon knows ('grey cat' for 'gray cat', 黑猫 for 黑色的猫), and with further
    attributes in between ('black striped cat'). In Chinese, which has no spaces, a name
    also matches inside a longer word, so that rather too many negatives are dropped.

    Args:
        names: English and Chinese names.
        lexicons: attribute words, one lexicon a language.

    Raises:
        ValueError: a name that is not a string or has no letters.
    """

    def __init__(self, names: Iterable[str], lexicons: Iterable[Lexicon]) -> None:
        if isinstance(names, str):
            raise ValueError(f'expected a list of names, got the text {names!r}')
        self._lexicons = {lexicon.language: lexicon for lexicon in lexicons}
        self._english = TermIndex(self._lexicons['en'])
        self._chinese = CharacterIndex(self._lexicons['zh'])
        self._names: dict[str, list[tuple[list[str], str]]] = {}
        self.names = list(dict.fromkeys(names))
        for name in self.names:
            if not isinstance(name, str):
                raise ValueError(f'a name must be a text, got {name!r:.80}')
            for attributes in (False, True):
                words = [w for (w, *_), _ in self._tokens(name, attributes)]
                words = [word for word in words if word not in ('的', ',')]
                if not words:
                    raise ValueError(f'name {name!r} has no letters')
                known = self._names.setdefault(words[0], [])
                if (words, name) not in known:
                    known.append((words, name))

    def find(self, text: str) -> list[str]:
        """The names that a text contains, each once."""
        names: dict[str, None] = {}
        if self._names:
            for attributes in (False, True):
                tokens = self._tokens(text, attributes)
                for i, (equal, _) in enumerate(tokens):
                    for word in equal:
                        for words, name in self._names.get(word, ()):
                            if name not in names and _follows(tokens, i, words):
                                names[name] = None
        return list(names)

    def _tokens(self, text: str, attributes: bool) -> list[_Token]:
        """Normalised words; attribute terms as one word, by entry, if asked for."""
        tokens: list[_Token] = []
        for chunk in _CHUNK.findall(text):
            if CHINESE.match(chunk):
                tokens += self._chinese_tokens(chunk, attributes)
            else:
                tokens += self._english_tokens(chunk, attributes)
        return tokens

    def _english_tokens(self, text: str, attributes: bool) -> list[_Token]:
        words = [word.lower() for word in _WORD.findall(text)]
        if not attributes:
            return [((singularize(word),), False) for word in words if word != ',']
        tokens: list[_Token] = []
        i = 0
        while i < len(words):
            span = self._english.find(words, i)
            if span and span.readings:
                term = ' '.join(words[i : span.last])
                tokens.append(self._term('en', term, span.readings[0], span.is_thing))
                i = span.last
            else:
                word = singularize(words[i])
                tokens.append(((word,), word in _GAPS))
                i += 1
        return tokens

    def _chinese_tokens(self, text: str, attributes: bool) -> list[_Token]:
        if not attributes:
            return [((character,), False) for character in text if character != '的']
        tokens: list[_Token] = []
        start = 0
        while start < len(text):
            term = self._chinese.find(text, start)
            if term and term[1]:
                tokens.append(self._term('zh', term[0], term[1][0], False))
                start += len(term[0])
            else:
                tokens.append(((text[start],), text[start] in _GAPS))
                start += 1
        return tokens

    def _term(
        self, language: str, term: str, reading: Reading, is_thing: bool
    ) -> _Token:
        """An attribute: 'navy blue' is the entry and, by its last word, also 'blue'.

        Shapes may not be inside of a name: a red square and a blue circle are not a red
        circle.
        """
        space = ' ' if language == 'en' else ''
        equal = [f'{reading.shade}{space}{reading.entry.name}'.strip()]
        for cut in range(1, len(term)):
            for other in self._lexicons[language].readings.get(term[cut:], ()):
                if other.axis is reading.axis:
                    equal.append(other.entry.name)
        inside = reading.axis.family not in ('relation', 'count', 'shape')
        return tuple(equal), inside and not is_thing


def find_overlap(
    records: Iterable[Mapping], names: Iterable[str]
) -> dict[str, dict[str, int | list[str]]]:
    """Names that the hard negatives of records contain, for a report on leaks.

    Args:
        records: in FineHARD's form; ``short_expr_negs`` and ``long_expr_negs`` of
            every box are looked at.
        names: the novel classes of an evaluation, in either language.

    Returns:
        name -> ``{'count': negatives with it, 'examples': up to three}``; empty when
        nothing overlaps.
    """
    lexicons = [Lexicon(language, built_in(language)) for language in LANGUAGES]
    matcher = NameMatcher(names, lexicons)
    report: dict[str, dict] = {}
    for record in records:
        for box in record.get('bbox_info') or ():
            for key in NEGATIVE_KEYS:
                for text in (box.get(key) or {}).values():
                    for name in matcher.find(text):
                        entry = report.setdefault(name, {'count': 0, 'examples': []})
                        entry['count'] += 1
                        if len(entry['examples']) < _MAX_EXAMPLES:
                            entry['examples'].append(text)
    return report


def _may_be_inside(reading: Reading) -> bool:
    """False for shapes, which end a name: 'red square and blue circle' names two."""
    return reading.axis.family not in ('relation', 'count', 'shape')


def _follows(tokens: list[_Token], i: int, words: list[str]) -> bool:
    """Whether ``words`` stand from token ``i`` on, but for attributes inside."""
    for word in words[1:]:
        i += 1
        while i < len(tokens) and word not in tokens[i][0] and tokens[i][1]:
            i += 1
        if i == len(tokens) or word not in tokens[i][0]:
            return False
    return True
