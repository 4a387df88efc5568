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
        ValueError: for a word without ``=`` or key, or a malformed value.
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
    """Inverse of :func:`parse_options`.

    Raises:
        ValueError: for a value that cannot be written as a word.
    """
    return [f'{key}={format_value(value)}' for key, value in options.items()]


def parse_value(text: str) -> Any:
    """Value of a word of the command line.

    Python literals come first: number, quoted string, list, tuple, dict, True, False,
    None. In quotes a backslash is literal unless a quote or another backslash follows.
    Then MMEngine's shorthand: ``1,a`` and ``[1,a]`` are lists, ``(1,a)`` is a tuple,
    true and false in any case are booleans. Anything else is a string, unchanged:
    ``traffic light``, ``12:30``, ``007``, ``C:\\new``.

    Raises:
        ValueError: for unbalanced brackets around a comma, or braces with a colon that
            are not a dict.

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
    """Inverse of :func:`parse_value`.

    Raises:
        ValueError: for a value that cannot be written as a word, such as an object.
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
    """Marker for a text that is not a literal."""


_NONE = _None()


def _literal(text: str) -> Any:
    """Value of a Python literal; ``_NONE`` if the text is not one."""
    if len(text) > 1 and text[0] in '([{' and text.count(text[0]) > 100:
        return _NONE  # too deeply nested for Python's parser
    # a backslash is literal unless a quote or another backslash follows
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
    """Convert the dicts of a config to plain dicts."""
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
    """Whether the last character of a text closes its first bracket."""
    if len(text) < 2 or text[0] != start or text[-1] != end:
        return False
    depths = [depth for _, depth in _depths(text)]
    return depths[-1] == 0 and all(depth > 0 for depth in depths[:-1])


def _items(text: str) -> Iterator[str]:
    """Parts of a text, split at commas outside brackets and quotes."""
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
    """(position, bracket depth after it) of every character outside quotes.

    A quote opens only at the beginning of an item, so ``don't`` has none. It closes at
    the next quote of its kind that a comma, colon, bracket or the end follows.
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
