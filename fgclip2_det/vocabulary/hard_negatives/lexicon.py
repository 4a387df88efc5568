"""Lexicons: all attribute words of a language, built in and from users' files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fgclip2_det.io.text import read_json

from .axes import (
    LANGUAGES,
    Axis,
    Reading,
    build_axis,
    check_axis,
    expect,
    word_list,
)
from .word_lists import word_file


class Lexicon:
    """All attribute words of a language.

    Args:
        language: 'en' or 'zh'.
        *contents: ``{'families': {family: {axis: {...}}}, 'protected': [...]}``, each
            added to those before: an axis of the same name gets more entries.

    Raises:
        ValueError: if a part does not follow :func:`read_lexicon`.
    """

    def __init__(self, language: str, *contents: Mapping) -> None:
        if language not in LANGUAGES:
            raise ValueError(f'language must be one of {LANGUAGES}, got {language!r}')
        self.language = language
        self.axes: list[Axis] = []
        self.readings: dict[str, list[Reading]] = {}
        self.protected: set[str] = set()
        merged: dict[tuple[str, str], dict] = {}
        for content in contents:
            _check(content)
            for family, axes in content.get('families', {}).items():
                for name, axis in axes.items():
                    key = (family, name)
                    merged[key] = _merge(merged.get(key, {}), axis)
            self.protected.update(p.lower() for p in content.get('protected', ()))
        for (family, name), content in merged.items():
            self._add(build_axis(language, family, name, content))

    @property
    def families(self) -> list[str]:
        """Names of the families, each once, in order."""
        return list(dict.fromkeys(axis.family for axis in self.axes))

    def _add(self, axis: Axis) -> None:
        self.axes.append(axis)
        space = ' ' if self.language == 'en' else ''
        for entry in axis.entries.values():
            for form, spellings in entry.forms.items():
                for word in spellings:
                    self._read_as(word, Reading(axis, entry, form))
                    if entry.name in axis.unshaded:
                        continue
                    for shade in axis.shades:
                        reading = Reading(axis, entry, form, shade)
                        self._read_as(f'{shade}{space}{word}', reading)

    def _read_as(self, spelling: str, reading: Reading) -> None:
        """One reading per axis; the first form of an entry counts."""
        readings = self.readings.setdefault(spelling.lower(), [])
        for other in readings:
            if other.axis is reading.axis:
                if other.entry is not reading.entry:
                    raise ValueError(
                        f'{spelling!r} belongs to {other.entry.name!r} and to '
                        f'{reading.entry.name!r} of axis '
                        f'{reading.axis.family}/{reading.axis.name}'
                    )
                return
        readings.append(reading)


def read_lexicon(path: Path | str) -> dict[str, dict]:
    """A user's word lists, to be added to the built-in ones.

    A JSON file::

        {"en": {"families": {"weather": {"sky": {
                    "rule": "attributive",
                    "entries": ["sunny", ["rainy", "wet"], "snowy"],
                    "near": [["rainy", "snowy"]]}}},
                "protected": ["sunny side up"]},
         "zh": {...}}

    An entry is a word, a list of synonyms (the first is written) or
    ``{form: word or list}``; ``near`` entries never replace one another, those of a
    group of ``kinds`` do so more often. The other keys of an axis are the arguments of
    ``Axis``. Chinese colours have the forms '色' (红色) and '' (红). The entries of an
    existing family and axis (color/color, material/material, ...) are added to it.

    Returns:
        language -> content for :class:`Lexicon`.

    Raises:
        ValueError: naming the file and the part that is invalid.
    """
    path = Path(path)
    content = read_json(path)
    try:
        expect(content, dict, 'the file')
        for language, part in content.items():
            Lexicon(language, built_in(language), part)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None
    return content


def built_in(language: str) -> dict:
    """Content of the built-in lexicon of a language."""
    if language not in LANGUAGES:
        raise ValueError(f'language must be one of {LANGUAGES}, got {language!r}')
    return word_file(f'lexicon_{language}')


def _check(content: Any) -> None:
    """The outer shape of a language's content."""
    expect(content, dict, 'the content of a language')
    for key in content:
        if key not in ('families', 'protected'):
            raise ValueError(f'expected "families" and "protected", got {key!r}')
    expect(content.get('protected', []), list, '"protected"')
    word_list(content.get('protected', []), '"protected"')
    expect(content.get('families', {}), dict, '"families"')
    for family, axes in content.get('families', {}).items():
        expect(axes, dict, f'family {family!r}')
        for name, axis in axes.items():
            check_axis(axis, f'axis {family}/{name}')


def _merge(old: Mapping, new: Mapping) -> dict:
    """Lists and objects are joined, ``rule`` and ``strict`` are replaced."""
    merged = dict(old)
    for key, value in new.items():
        if isinstance(value, dict):
            merged[key] = _merge(merged.get(key, {}), value)
        elif isinstance(value, list) and isinstance(merged.get(key, []), list):
            merged[key] = [*merged.get(key, []), *value]
        else:
            merged[key] = value
    return merged
