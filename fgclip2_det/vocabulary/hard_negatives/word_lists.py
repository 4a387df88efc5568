"""The built-in word lists: JSON files in ``data/``, each read once, on first use."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from fgclip2_det.io.text import read_json

_DATA = Path(__file__).with_name('data')


@cache
def word_file(name: str) -> dict:
    """Content of ``data/<name>.json``; see :func:`read_word_file`."""
    return read_word_file(_DATA / f'{name}.json')


def word_sets(name: str) -> dict[str, frozenset[str]]:
    """The lists under ``"words"`` in ``data/<name>.json``."""
    return {key: frozenset(words) for key, words in word_file(name)['words'].items()}


def read_word_file(path: Path) -> dict:
    """Content of a file of word lists, without ``"about"`` and ``"lists"``.

    ``"@name"`` in a list of words stands for the words of ``"lists"`` of that name,
    which may hold those of a list before it.

    Raises:
        ValueError: naming the file: not a JSON object, an unknown ``"@name"``, an
            empty word, or a word that is twice in a list.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get('lists', {}), dict):
        raise ValueError(f'{path} must hold an object, and "lists" in it another one')
    lists = content.pop('lists', {})
    content.pop('about', None)
    expanded: dict[str, list] = {}
    try:
        for name, words in lists.items():
            expanded[name] = _expand(words, expanded)
        return {key: _expand(part, expanded) for key, part in content.items()}
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None


def _expand(value: Any, lists: dict[str, list]) -> Any:
    """A part of a file with the words of every ``"@name"`` in its place."""
    if isinstance(value, dict):
        return {key: _expand(part, lists) for key, part in value.items()}
    if not isinstance(value, list):
        return value
    words = [part for part in value if isinstance(part, str)]
    if '' in words or len(set(words)) < len(words):
        raise ValueError(f'expected distinct words, got {value!r:.80}')
    expanded: list[object] = []
    for part in value:
        if isinstance(part, str) and part.startswith('@'):
            if part[1:] not in lists:
                raise ValueError(f'{part!r} is not in "lists" {sorted(lists)}')
            expanded += lists[part[1:]]
        else:
            expanded.append(_expand(part, lists))
    return expanded
