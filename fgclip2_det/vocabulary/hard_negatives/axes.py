"""Axes: attribute words of one kind, their spellings and contradictions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from .inflection import pluralize

LANGUAGES = ('en', 'zh')
RULES = {
    'en': ('free', 'attributive', 'material', 'noun', 'relation', 'count'),
    'zh': ('free', 'bare', 'attributive', 'localizer', 'count'),
}
_CONDITIONS = ('only_before', 'only_after', 'never_before', 'never_after')
_NAME_KEYS = ('silent', 'needs_noun', 'unshaded')
_AXIS_KEYS = {
    'rule': str, 'strict': bool, 'entries': list, 'near': list, 'kinds': list,
    'shades': dict, **dict.fromkeys((*_NAME_KEYS, 'variants'), list),
    **dict.fromkeys(_CONDITIONS, dict),
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One attribute and how it is spelled.

    Args:
        name: the first spelling.
        forms: form -> spellings, the first of which is written.
        rank: place in the axis; common words come first.
    """

    name: str
    forms: Mapping[str, tuple[str, ...]]
    rank: int

    def spellings(self, form: str, strict: bool = False) -> tuple[str, ...]:
        """The words of a form; of the first one (none if strict) without such."""
        if form in self.forms or strict:
            return self.forms.get(form, ())
        return next(iter(self.forms.values()))


@dataclass(frozen=True, eq=False, repr=False)
class Axis:
    """Entries of which an object has one: naming another one makes a text false.

    Args:
        family: 'color', 'shape', 'material', 'size', 'pattern', 'count', 'relation'
            or one of the user's.
        name: tells the axes of a family apart ('length' and 'thickness' of 'size').
        rule: which places in a text count (``RULES``).
        entries: name -> entry.
        near: name -> names that mean nearly the same, itself included.
        kinds: name -> names that are likelier in its place than the others are.
        strict: an entry without the form in question is not written.
        silent: names that are recognised but never written.
        variants: spellings that are written as often as the first one of their entry;
            other spellings are only recognised.
        needs_noun: names that must describe a noun ('orange' is a fruit as well).
        shades: word before an entry -> its opposites ('light' -> 'dark').
        unshaded: names that take no shade.
        only_before, only_after, never_before, never_after: name ('*' for all) -> the
            words of which one must, or none must be next to it.
    """

    family: str
    name: str
    rule: str
    entries: dict[str, Entry]
    near: dict[str, frozenset[str]]
    kinds: dict[str, frozenset[str]]
    strict: bool = False
    silent: frozenset[str] = frozenset()
    variants: frozenset[str] = frozenset()
    needs_noun: frozenset[str] = frozenset()
    shades: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unshaded: frozenset[str] = frozenset()
    only_before: dict[str, frozenset[str]] = field(default_factory=dict)
    only_after: dict[str, frozenset[str]] = field(default_factory=dict)
    never_before: dict[str, frozenset[str]] = field(default_factory=dict)
    never_after: dict[str, frozenset[str]] = field(default_factory=dict)

    def condition(self, name: str, entry: Entry) -> frozenset[str]:
        """The words of a condition ('only_before', ...) for an entry."""
        words = getattr(self, name)
        return words.get(entry.name, frozenset()) | words.get('*', frozenset())


@dataclass(frozen=True)
class Reading:
    """A possible meaning of a spelling."""

    axis: Axis
    entry: Entry
    form: str
    shade: str = ''


def check_axis(content: Any, where: str) -> None:
    """Raise a ValueError for unknown keys and values of the wrong type."""
    expect(content, dict, where)
    for key, value in content.items():
        if key not in _AXIS_KEYS:
            raise ValueError(f'{where} holds {key!r}; known are {sorted(_AXIS_KEYS)}')
        expect(value, _AXIS_KEYS[key], f'{key!r} of {where}')


def build_axis(language: str, family: str, name: str, content: Mapping) -> Axis:
    """The axis that a lexicon's content describes.

    Raises:
        ValueError: an unknown rule, a value that is not a word, an entry that occurs
            twice, a name that is not an entry.
    """
    where = f'axis {family}/{name}'
    rule = content.get('rule', 'free')
    if rule not in RULES[language]:
        raise ValueError(f'rule of {where} must be in {RULES[language]}, got {rule!r}')
    entries: dict[str, Entry] = {}
    for rank, given in enumerate(content.get('entries', [])):
        forms = _forms(given, rule, where)
        entry = Entry(next(iter(forms.values()))[0], forms, rank)
        if entry.name in entries:
            raise ValueError(f'{where} holds {entry.name!r} twice')
        entries[entry.name] = entry
    parts: dict[str, Any] = {
        key: _groups(content, key, entries, where) for key in ('near', 'kinds')
    }
    for key in _NAME_KEYS:
        names = word_list(content.get(key, []), f'{key!r} of {where}')
        parts[key] = frozenset(_known(names, entries, f'{key!r} of {where}'))
    for key in _CONDITIONS:
        parts[key] = {
            name: frozenset(word_list(words, f'{key!r} of {where}'))
            for name, words in content.get(key, {}).items()
        }
        _known(set(parts[key]) - {'*'}, entries, f'{key!r} of {where}')
    parts['shades'] = {
        shade: tuple(word_list(opposites, f"'shades' of {where}"))
        for shade, opposites in content.get('shades', {}).items()
    }
    parts['strict'] = content.get('strict', False)
    parts['variants'] = frozenset(
        word_list(content.get('variants', []), f"'variants' of {where}")
    )
    return Axis(family, name, rule, entries, **parts)


def _forms(given: object, rule: str, where: str) -> dict[str, tuple[str, ...]]:
    what = f"'entries' of {where}"
    if not isinstance(given, dict):
        words = tuple(word_list(given, what))
        if not words:
            raise ValueError(f'{what}: an entry is an empty list')
        if rule == 'noun':
            return {'one': words, 'many': tuple(map(pluralize, words))}
        return {'': words}
    forms = {form: tuple(word_list(words, what)) for form, words in given.items()}
    if not forms or not all(forms.values()):
        raise ValueError(f'{what}: {given!r} names no word')
    return forms


def _known(names: Collection[str], entries: Mapping, what: str) -> Collection[str]:
    for name in names:
        if name not in entries:
            raise ValueError(
                f'{what} names {name!r}, which is not an entry there (an entry is '
                'identified by its first word)'
            )
    return names


def _groups(
    content: Mapping, key: str, entries: Mapping[str, Entry], where: str
) -> dict[str, frozenset[str]]:
    """Entry -> all entries that share a group with it, itself included."""
    what = f'{key!r} of {where}'
    related = {name: {name} for name in entries}
    for group in content.get(key, []):
        words = _known(word_list(group, what), entries, what)
        for word in words:
            related[word].update(words)
    return {name: frozenset(names) for name, names in related.items()}


def expect(value: object, kind: type, what: str) -> None:
    """Raise a ValueError unless a part of a lexicon has the expected type."""
    if not isinstance(value, kind):
        kinds = {
            dict: 'an object',
            list: 'a list',
            str: 'a text',
            bool: 'true or false',
        }
        raise ValueError(f'{what} must be {kinds[kind]}, got {value!r:.80}')


def word_list(value: Any, what: str) -> list[str]:
    """A word or list of words as a list; ValueError for anything else."""
    words = value if isinstance(value, list | tuple) else [value]
    for word in words:
        if not isinstance(word, str) or not any(c.isalnum() for c in word):
            raise ValueError(f'{what}: expected words, got {value!r:.80}')
    return list(words)
