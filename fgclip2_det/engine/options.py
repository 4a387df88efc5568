"""Parse and format ``key=value`` command line options."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_OPEN, _CLOSE = '([{', ')]}'
_WORDS = {'true': True, 'false': False}  # in any case, as MMEngine reads them
_NUMBERS = {'inf', '-inf', '+inf', 'nan'}


def parse_options(words: Iterable[str]) -> dict[str, Any]:
    """``['a.b=1', "c='x y'"]`` as ``{'a.b': 1, 'c': 'x y'}``.

    Raises:
        ValueError: a word without ``=`` or key, or a value that cannot be meant.
    """
    options = {}
    for word in words:
        key, equals, value = word.partition('=')
        if not equals or not key.strip():
            raise ValueError(f'expected key=value, got {word!r}')
        try:
            options[key.strip()] = parse_value(value)
        except ValueError as error:
            raise ValueError(f'{key.strip()}: {error}') from error
    return options


def format_options(options: Mapping[str, Any]) -> list[str]:
    """The words that :func:`parse_options` reads as ``options``.

    Raises:
        ValueError: a value that no word stands for.
    """
    return [f'{key}={format_value(value)}' for key, value in options.items()]


def parse_value(text: str) -> Any:
    """The value that a word of the command line stands for.

    A Python literal is that literal: number, quoted text, list, tuple, dict, True,
    False, None. In quotes a backslash stands for itself, unless a quote or another
    backslash follows. Else it is MMEngine's shorthand: ``1,a`` and ``[1,a]`` are
    lists, ``(1,a)`` is a tuple, true and false in any case are booleans. The rest is
    text, kept as it was typed: ``traffic light``, ``12:30``, ``007``, ``C:\\new``.

    Raises:
        ValueError: unbalanced brackets around a comma, or braces with a colon that
            are no dict.

    Example:
        >>> parse_value("['red circle', '白色杯子']"), parse_value('1,a')
        (['red circle', '白色杯子'], [1, 'a'])
    """
    text = text.strip(' \t')
    bare = _encloses(text, '(', ')')
    value = _literal(text)
    if value is not _NONE:
        if bare and not isinstance(value, tuple):
            return (value,)  # (1) is a tuple for MMEngine
        is_list = isinstance(value, tuple) and not bare
        return list(value) if is_list else value
    if bare:
        return tuple(map(parse_value, _items(text[1:-1])))
    if _encloses(text, '[', ']'):
        return list(map(parse_value, _items(text[1:-1])))
    if _encloses(text, '{', '}') and ':' in text:
        raise ValueError(
            f'{text} is not a Python dict; put names in quotes, as in '
            "{'white rook': ['white', 'rook']}, or all of it if it is text"
        )
    if ',' in text and len(items := list(_items(text))) + text.endswith(',') > 1:
        return list(map(parse_value, items))
    return _scalar(text)


def format_value(value: Any) -> str:
    """The word that :func:`parse_value` reads as ``value``.

    Raises:
        ValueError: a value that no word stands for, such as an object.
    """
    value = _plain(value)
    candidates = [value] if isinstance(value, str) else []
    for text in (*candidates, repr(value)):
        try:
            if repr(parse_value(text)) == repr(value):
                return text
        except ValueError:
            continue
    raise ValueError(f'{value!r} cannot be written as an option')


class _None:
    """No literal."""


_NONE = _None()


def _literal(text: str) -> Any:
    """A Python literal of plain values, or ``_NONE``."""
    if len(text) > 1 and text[0] in '([{' and text.count(text[0]) > 100:
        return _NONE  # Python's own parser gives up on such nesting
    # a backslash before anything but a quote or a backslash is meant as one
    escaped = re.sub(r'\\(["\'\\])|\\', lambda m: m[0] if m[1] else r'\\', text)
    try:
        value = ast.literal_eval(escaped)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return _NONE
    return value if _is_plain(value) else _NONE


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, (*value, *value.values())))
    return value is None or isinstance(value, str | int | float)


def _plain(value: Any) -> Any:
    """Dicts of a config as dicts, with the rest as it is."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value))
    return value


def _scalar(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if text.lower() in _NUMBERS:
        return float(text)
    return text


def _encloses(text: str, start: str, end: str) -> bool:
    """Whether the first bracket of a text is closed by its last character."""
    if len(text) < 2 or text[0] != start or text[-1] != end:
        return False
    depths = [depth for _, depth in _depths(text)]
    return depths[-1] == 0 and all(depth > 0 for depth in depths[:-1])


def _items(text: str) -> Iterator[str]:
    """The parts of a text between commas that are in no brackets and no quotes."""
    if not text:
        return
    start, depth = 0, 0
    for place, depth in _depths(text):
        if text[place] == ',' and depth == 0:
            yield text[start:place].strip()
            start = place + 1
    if depth:
        raise ValueError(f'brackets in {text!r} do not match')
    if start < len(text):
        yield text[start:].strip()


def _depths(text: str) -> Iterator[tuple[int, int]]:
    """(place, brackets open after it) of every character outside quotes.

    A quote counts where an item begins, so that ``don't`` has none; it ends where
    the next one like it is followed by a comma, colon, bracket or the end.
    """
    depth, place, begins = 0, 0, True
    while place < len(text):
        char = text[place]
        if begins and char in '\'"':
            closing = re.compile(rf'(?<!\\){char}(?=\s*(?:[,:)\]}}]|$))')
            match = closing.search(text, place + 1)
            place = match.end() - 1 if match else place
        elif char in _OPEN:
            depth += 1
        elif char in _CLOSE:
            depth -= 1
        if depth > 100:
            raise ValueError(f'brackets in {text[:40]!r}... are too deep')
        begins = char in '([{,:' or (begins and char == ' ')
        yield place, depth
        place += 1
