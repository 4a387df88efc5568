"""Named lists of words in prompts: the {colour} of '{colour} cup'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from fgclip2_det.vocabulary.hard_negatives.lexicon import built_in

Words = Mapping[str, str | Sequence[str]]
# placeholder -> language, family and axis of the word lists, how many, and the form
_LISTS: dict[str, tuple[str, str, str, int, str]] = {
    'colour': ('en', 'color', 'color', 11, ''),
    'material': ('en', 'material', 'material', 10, 'attributive'),
    'pattern': ('en', 'pattern', 'print', 6, ''),
    'shape': ('en', 'shape', 'adjective', 6, ''),
    'size': ('en', 'size', 'overall', 2, ''),
    '颜色': ('zh', 'color', 'color', 11, '色'),
    '材质': ('zh', 'material', 'material', 10, '制'),
    '图案': ('zh', 'pattern', 'print', 6, ''),
    '形状': ('zh', 'shape', 'shape', 6, ''),
}
PLACEHOLDERS = (*_LISTS, 'color')


def placeholder_words(name: str, words: Words | None = None) -> list[str] | None:
    """The words that a placeholder stands for; None where there is no such list.

    Args:
        name: 'colour', '颜色', ..., see :data:`PLACEHOLDERS`, or a key of ``words``.
        words: lists of a user, which come first: name -> words, or 'cup|plate'.

    Raises:
        ValueError: an empty list of a user, or one that is no texts.
    """
    given = (words or {}).get(name)
    if given is None:
        return list(_built_in(name)) if name in PLACEHOLDERS else None
    listed = given.split('|') if isinstance(given, str) else given
    if (
        not isinstance(listed, Sequence)
        or not listed
        or not all(isinstance(word, str) and word.strip() for word in listed)
    ):
        raise ValueError(
            f"words of {name!r} must be texts such as ['cup', 'plate'], got {given!r}"
        )
    return [word.strip() for word in listed]


@cache
def _built_in(name: str) -> tuple[str, ...]:
    """The most common words of a list, which stand first in it."""
    language, family, axis, count, form = _LISTS['colour' if name == 'color' else name]
    entries = built_in(language)['families'][family][axis]['entries']
    return tuple(_word(entry, form) for entry in entries[:count])


def _word(entry: Any, form: str) -> str:
    """How an entry of the word lists is written in a form."""
    if isinstance(entry, Mapping):
        entry = entry[form] if form in entry else next(iter(entry.values()))
    return entry if isinstance(entry, str) else entry[0]
