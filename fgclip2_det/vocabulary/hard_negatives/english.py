"""Recognition and replacement of attributes in English texts, with agreement."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from .axes import Axis, Entry, Reading
from .english_sentence import EnglishSentence, Span, TermIndex
from .english_words import (
    ADVERBS,
    COLOR_WORDS,
    CONNECTORS,
    COPULAS,
    DETERMINERS,
    GROUP_WORDS,
    NO_COUNT_AFTER,
    NO_COUNT_BEFORE,
    POSSESSIVES,
    PRONOUNS,
)
from .grammar import Grammar, Option, Slot
from .inflection import article, pluralize, singularize
from .lexicon import Lexicon

_MADE_OF = {
    ('made', 'of'), ('made', 'from'), ('out', 'of'), ('constructed', 'of'),
    ('composed', 'of'), ('crafted', 'from'), ('made', 'with'), ('built', 'of'),
    ('consisting', 'of'), ('combination', 'of'), ('mix', 'of'), ('mixture', 'of'),
}  # fmt: skip
_NUMBERS_AFTER = {'is': 'are', 'was': 'were'}
_NUMBERS_BEFORE = {'are': 'is', 'were': 'was'}


class English(Grammar):
    """Attribute slots and grammar of English.

    A slot needs context that disambiguates its word: 'glass' before a noun or after
    'made of' is a material, in 'a glass of milk' it is not. Articles agree with the
    new word, and nouns and 'is' with a number. Ambiguous words are left unchanged.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        super().__init__(lexicon)
        self._index = TermIndex(lexicon)

    def parse(self, text: str) -> EnglishSentence:
        sentence = EnglishSentence(text, self._index)
        for span in sentence.spans.values():
            slot = self._slot(sentence, span)
            if slot is not None:
                sentence.slots.append(slot)
        self._join(sentence)
        return sentence

    def _slot(self, sentence: EnglishSentence, span: Span) -> Slot | None:
        """The first reading that the surroundings allow."""
        for reading in span.readings:
            form = self._form(sentence, span, reading)
            if form is None:
                continue
            start, end = sentence.starts[span.first], sentence.ends[span.last - 1]
            slot = Slot(start, end, span.first, span.last, reading, form)
            if self._allowed(sentence, slot, reading.entry):
                return slot
        return None

    def _form(
        self, sentence: EnglishSentence, span: Span, reading: Reading
    ) -> str | None:
        """The form for the place, or None if it is not an attribute."""
        rule = reading.axis.rule
        if rule == 'free' and reading.entry.name in reading.axis.needs_noun:
            rule = 'described'
        return getattr(self, f'_as_{rule}')(sentence, span, reading)

    def _as_free(self, sentence: EnglishSentence, span: Span, reading: Reading) -> str:
        return reading.form

    def _as_attributive(
        self, sentence: EnglishSentence, span: Span, reading: Reading
    ) -> str | None:
        """Before a noun, or after 'is'."""
        before = span.first - 1
        while sentence.word(before) in ADVERBS:
            before -= 1
        if sentence.word(before) in COPULAS or sentence.noun_phrase(span.last):
            return reading.form
        return None

    def _as_described(
        self, sentence: EnglishSentence, span: Span, reading: Reading
    ) -> str | None:
        """As an attribute, after 'in', or joined to a word of the same axis."""
        before, after = sentence.word(span.first - 1), sentence.word(span.last)
        joined = before in CONNECTORS and sentence.span_before.get(span.first - 1)
        joined = joined or (after in CONNECTORS and sentence.spans.get(span.last + 1))
        if joined and any(r.axis is reading.axis for r in joined.readings):
            return reading.form
        if before in ('in', 'colored', 'painted') or after in COLOR_WORDS:
            return reading.form
        return self._as_attributive(sentence, span, reading)

    def _as_material(
        self, sentence: EnglishSentence, span: Span, reading: Reading
    ) -> str | None:
        """'noun' after 'made of', 'attributive' before a noun or after 'is'."""
        forms = reading.entry.forms
        spelled = ' '.join(sentence.words[span.first : span.last])
        is_noun = 'noun' not in forms or spelled in forms['noun']
        if is_noun and self._made_of(sentence, span.first):
            return 'noun'
        if self._as_attributive(sentence, span, reading) is None:
            return None
        return 'attributive'

    def _made_of(self, sentence: EnglishSentence, first: int) -> bool:
        """Whether attributes and 'and' are all between 'made of' and a token."""
        while first > 0:
            span = sentence.span_before.get(first)
            if span is not None and span.describes:
                first = span.first
            elif sentence.words[first - 1] in CONNECTORS:
                first -= 1
            else:
                break
        return (sentence.word(first - 2), sentence.word(first - 1)) in _MADE_OF

    def _as_noun(
        self, sentence: EnglishSentence, span: Span, reading: Reading
    ) -> str | None:
        """After an attribute or a determiner, with no noun after it."""
        before = sentence.span_before.get(span.first)
        described = before is not None and before.describes
        if not described and (
            reading.entry.name in reading.axis.needs_noun
            or sentence.word(span.first - 1) not in DETERMINERS
        ):
            return None
        if sentence.word(span.last) == '-' or sentence.noun_phrase(span.last):
            return None
        return reading.form

    def _as_relation(
        self, sentence: EnglishSentence, span: Span, reading: Reading
    ) -> str | None:
        """Before something that it may relate to."""
        before, after = sentence.word(span.first - 1), sentence.word(span.last)
        if '-' in (before, after):
            return None
        if after in DETERMINERS or after in PRONOUNS:
            return reading.form
        return reading.form if sentence.noun_phrase(span.last) else None

    def _as_count(
        self, sentence: EnglishSentence, span: Span, reading: Reading
    ) -> str | None:
        """Before a noun that is counted; 'one' and digits need it to be certain."""
        after = sentence.word(span.last)
        if (
            sentence.word(span.first - 1) in NO_COUNT_AFTER
            or after in NO_COUNT_BEFORE
            or not (after.isalpha() or after == '-')
        ):
            return None
        if reading.entry.name == 'one':
            certain = sentence.counted(span.last, plural=False) is not None
            followed = POSSESSIVES & set(sentence.words[span.last :])
            return reading.form if certain and not followed else None
        if reading.form == 'digit':
            certain = sentence.counted(span.last, plural=True) is not None
            return reading.form if certain else None
        return reading.form

    def fits(self, sentence: EnglishSentence, slot: Slot, entry: Entry) -> bool:
        if slot.axis.rule == 'count' and entry.name == 'one':
            rest = sentence.words[slot.last :]
            if GROUP_WORDS & set(rest):
                return False
            if sentence.counted(slot.last, plural=True) is None:
                return False
        return self._allowed(sentence, slot, entry)

    def _allowed(self, sentence: EnglishSentence, slot: Slot, entry: Entry) -> bool:
        """The conditions of the axis on the words before and after."""
        axis = slot.axis
        phrase = sentence.object_phrase(slot.last)
        ends = {*phrase[:1], *phrase[-1:]}
        only = axis.condition('only_before', entry)
        if only and not only & (ends | set(map(singularize, ends))):
            return False
        after = {sentence.word(slot.last), *phrase[:1]}
        if axis.condition('never_before', entry) & after:
            return False
        before = sentence.words[max(slot.first - 2, 0) : slot.first]
        before = {*before[-1:], ' '.join(before)}
        only = axis.condition('only_after', entry)
        if only and not only & before:
            return False
        return not axis.condition('never_after', entry) & before

    def _join(self, sentence: EnglishSentence) -> None:
        """Chains such as 'red, white and blue'; 'blue-green' is not a slot."""
        dropped: set[int] = set()
        by_axis: dict[Axis, list[Slot]] = {}
        for slot in sentence.slots:
            by_axis.setdefault(slot.axis, []).append(slot)
        for axis, slots in by_axis.items():
            chain = slots[:1]
            for one, other in pairwise(slots):
                gap = sentence.words[one.last : other.first]
                if not set(gap) <= CONNECTORS | {'-'}:
                    sentence.join(chain)
                    chain = []
                elif gap == ['-'] or axis.rule == 'count':
                    dropped.update((one.start, other.start))
                chain.append(other)
            sentence.join(chain)
        sentence.slots = [s for s in sentence.slots if s.start not in dropped]

    def write(self, sentence: EnglishSentence, option: Option) -> str:
        slot, text = option.slot, sentence.text
        old = text[slot.start : slot.end]
        new = option.spelling
        if '-' in old and ' ' not in old and new.count(' ') == 1:
            new = new.replace(' ', '-')
        edits = [(slot.start, slot.end, _cased(old, new))]
        before = sentence.word(slot.first - 1)
        if before in ('a', 'an'):
            start, end = sentence.starts[slot.first - 1], sentence.ends[slot.first - 1]
            edits.append((start, end, _cased(text[start], article(new))))
        if slot.axis.rule == 'count':
            edits += self._agree(sentence, option)
        for start, end, word in sorted(edits, reverse=True):
            text = text[:start] + word + text[end:]
        return text

    def _agree(
        self, sentence: EnglishSentence, option: Option
    ) -> Sequence[tuple[int, int, str]]:
        """Edits of the counted noun and of 'is' after it, from or to singular."""
        was_one = option.slot.reading.entry.name == 'one'
        if not was_one and option.entry.name != 'one':
            return []
        noun = sentence.counted(option.slot.last, plural=not was_one)
        assert noun is not None  # without a noun it is not an option
        change = pluralize if was_one else singularize
        changes = [(noun, change(sentence.words[noun]))]
        verbs = _NUMBERS_AFTER if was_one else _NUMBERS_BEFORE
        verb = sentence.word(noun + 1)
        if verb in verbs:
            changes.append((noun + 1, verbs[verb]))
        return [
            (
                sentence.starts[i],
                sentence.ends[i],
                _cased(sentence.text[sentence.starts[i]], w),
            )
            for i, w in changes
        ]


def _cased(old: str, new: str) -> str:
    """The new word with the capitals of the old one."""
    if old[1:2] == '-':  # "L-shaped"
        return new
    if len(old) > 1 and old.isupper():
        return new.upper()
    return new[:1].upper() + new[1:] if old[:1].isupper() else new
