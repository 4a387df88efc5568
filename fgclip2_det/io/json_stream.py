"""JSON files read entry by entry, in bounded memory."""

import codecs
import json
import os
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any, BinaryIO

from fgclip2_det.io import InputError
from fgclip2_det.io.text import (
    TOO_DEEP,
    check_regular,
    load_json,
    parse_json,
    stream_codec,
)

_CHUNK = 1 << 20
_SPACE = ' \t\n\r'
_DECODE = json.JSONDecoder().raw_decode
_COMMA = re.compile('[ \t\n\r]*,').match
_TRIES = 3
_MAX_ENTRY = 1 << 26  # characters
_BLOCK = 1 << 16  # entries at a time, and up to a megabyte of them more


def check_file(path: Path | str, what: str = 'annotation file') -> Path:
    """The path of an existing file.

    Raises:
        InputError: if there is no such file; a folder, a pipe or a device.
    """
    if not os.path.exists(path):
        raise InputError(f'there is no {what} {path}; check the path')
    check_regular(path)
    return Path(path)


def open_file(path: Path | str) -> BinaryIO:
    """An existing file, opened in binary mode.

    Raises:
        ValueError: if there is no such file, or it may not be read.
    """
    try:
        return open(check_file(path), 'rb')
    except OSError as error:
        raise InputError(f'{path} cannot be read ({error})') from error


class IncompleteJsonError(InputError):
    """A file that is not a complete JSON file; ``reason`` says where it ends."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f'{path} is not a complete JSON file ({reason}); get it again')
        self.reason = reason


def not_an_object(path: object, value: object) -> str:
    """Sentence on a file that holds another JSON value than an object."""
    kind = 'a list' if isinstance(value, list) else 'another value'
    return f'{path} must be a JSON object, such as a COCO file, not {kind}; give one'


class NotUtf8Error(InputError):
    """A file that is not UTF-8, which has to be decoded whole."""

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f'{path} is not UTF-8 text ({reason}); save it as UTF-8')


class _Text:
    """Text of a file, read as it is needed, and the place ``at`` in what was read.

    Args:
        file: opened in binary mode, at the start of its text.
        path: its path, for messages.
        longest: characters of a value beyond which a fault is not taken for a value
            that goes on; None reads on to the end of the file.

    Attributes:
        codec: of the file, from its byte order mark.
        begin: where in ``buffer`` the last value begins; it ends at ``at``.
    """

    def __init__(self, file: BinaryIO, path: Path, longest: int | None = None) -> None:
        self.file, self.path, self.longest = file, path, longest
        head = file.read(4)
        file.seek(-len(head), os.SEEK_CUR)
        self.codec = stream_codec(head)
        self.decode = codecs.getincrementaldecoder(self.codec)().decode
        self.buffer, self.begin, self.at, self.ended = '', 0, 0, False
        self._counted = 0  # characters of buffer that _num_bytes includes
        self._num_bytes = len(codecs.BOM_UTF8) if self.codec == 'utf-8-sig' else 0

    def more(self) -> None:
        """Read on: twice as much at each call without progress, so that the time stays
        linear."""
        self.offset(self.at)
        rest = self.buffer[self.at :]
        data = self.file.read(max(_CHUNK, len(rest)))
        self.ended = not data
        self.buffer, self.at = rest + self.decode(data, final=self.ended), 0
        self._counted = 0

    def offset(self, at: int) -> int:
        """Bytes of a UTF-8 file before ``buffer[at]``; ``at`` only grows."""
        passed = self.buffer[self._counted : at]
        self._num_bytes += len(passed) if passed.isascii() else len(passed.encode())
        self._counted = at
        return self._num_bytes

    def peek(self) -> str:
        """The next character that is not white space, '' at the end."""
        while True:
            while self.at < len(self.buffer) and self.buffer[self.at] in _SPACE:
                self.at += 1
            if self.at < len(self.buffer):
                return self.buffer[self.at]
            if self.ended:
                return ''
            self.more()

    def expect(self, wanted: str) -> str:
        """Pass the next character, which must be one of ``wanted``."""
        char = self.peek()
        if not char or char not in wanted:
            expected = ' or '.join(repr(c) for c in wanted)
            here = repr(char) if char else 'the end of the file'
            raise self.error(f'expected {expected}, got {here}')
        self.at += 1
        return char

    def value(self) -> Any:
        """Pass and decode the next value."""
        self.peek()
        while True:
            try:
                value, end = _DECODE(self.buffer, self.at)
            except json.JSONDecodeError as error:
                pending = len(self.buffer) - self.at
                if self.ended or pending > (self.longest or pending):
                    raise self.error(error.msg) from error
            except RecursionError as error:
                raise self.error(TOO_DEEP) from error
            except ValueError as error:  # a number of thousands of digits
                raise self.error(str(error)) from error
            else:
                # 12 at the end of what is read may go on as 123, 12.5 as 12.5e-3
                if self.ended or self.buffer[end : end + 1] not in ('', *'.eE+-'):
                    self.begin, self.at = self.at, end
                    return value
            self.more()

    def objects(self) -> list:
        """Pass the entries of a list that are whole in what was read, up to the comma
        behind an object, and decode them at once; none where that is not clear.

        Text that is a list with brackets around it, and goes on with a comma, is
        entries.
        """
        stop = len(self.buffer)
        for _ in range(_TRIES):  # a comma may stand behind an object in an entry
            stop = self.buffer.rfind('}', self.at, stop)
            if stop < 0:
                break
            if (comma := _COMMA(self.buffer, stop + 1)) is None:
                continue
            try:
                entries = load_json(f'[{self.buffer[self.at : stop + 1]}]')
            except (ValueError, RecursionError):
                continue  # who reads entry by entry says what is wrong with which
            self.at = comma.end()
            return entries
        return []

    def error(self, reason: str) -> IncompleteJsonError:
        return IncompleteJsonError(self.path, reason)


def stream_json(path: Path | str) -> Iterator[tuple[str, bool, Any]]:
    """A JSON object piece by piece: (key, is_entry, value).

    A list under a key of the object comes entry by entry with ``is_entry`` True, after
    one (key, False, []) that opens it; any other value comes whole, ``is_entry``
    False. The entries of a megabyte are in memory at a time.

    Raises:
        ValueError: naming the file: it does not exist or cannot be opened, is not a
            JSON object, is truncated or is not UTF-8.
    """
    with open_file(path) as file:
        try:
            yield from _stream_object(_Text(file, Path(path)))
        except UnicodeDecodeError as error:
            raise NotUtf8Error(path, error.reason) from error


def _stream_object(text: _Text) -> Iterator[tuple[str, bool, Any]]:
    if (char := text.peek()) != '{':
        raise InputError(not_an_object(text.path, [] if char == '[' else char))
    text.expect('{')
    closing = ',' if text.peek() != '}' else text.expect('}')
    while closing == ',':
        if text.peek() != '"':
            raise text.error('a key must be a string')
        key = text.value()
        text.expect(':')
        if text.peek() == '[':
            yield key, False, []
            yield from ((key, True, entry) for entry in _stream_list(text))
        else:
            yield key, False, text.value()
        closing = text.expect(',}')
    if text.peek():
        raise text.error('there is text after its end')


def _stream_list(text: _Text) -> Iterator[Any]:
    return chain.from_iterable(_entry_lists(text))


def _entry_lists(text: _Text, one_by_one: bool = False) -> Iterator[list]:
    """Entries of a list, some at a time; ``text.begin`` and ``text.at`` are the last
    one's, if ``one_by_one``."""
    text.expect('[')
    closing, tried = ',' if text.peek() != ']' else text.expect(']'), None
    while closing == ',':
        if not one_by_one and text.buffer is not tried:
            tried = text.buffer
            if entries := text.objects():
                yield entries
        yield [text.value()]
        closing = text.expect(',]')


def stream_spans(file: BinaryIO, path: Path) -> Iterator[tuple[int, int, Any]]:
    """Entries of a JSON list with their places in the file: (start, end, entry).

    Args:
        file: UTF-8, opened in binary mode, at its start. ``start`` and ``end`` are
            bytes; ``file.read(end - start)`` after ``file.seek(start)`` is the entry.
        path: its path, for messages.

    Raises:
        IncompleteJsonError: an entry that is not JSON, a truncated list, or text
            after it.
        ValueError: naming the file: it is not a JSON list, or is not UTF-8.
    """
    text = _Text(file, path)
    if text.codec not in ('utf-8', 'utf-8-sig'):
        raise NotUtf8Error(path, text.codec)
    try:
        _check_list(text, 'records')
        for (entry,) in _entry_lists(text, one_by_one=True):
            yield text.offset(text.begin), text.offset(text.at), entry
        if text.peek():
            raise text.error('there is text after its list')
    except UnicodeDecodeError as error:
        raise NotUtf8Error(path, error.reason) from error


def _check_list(text: _Text, of: str) -> None:
    if text.peek() != '[':
        start = short_repr(text.buffer[text.at : text.at + 40])
        raise InputError(f'{text.path} must be a JSON list of {of}, got {start}')


def stream_list(path: str | os.PathLike) -> Iterator[list]:
    """Entries of a JSON list such as a result list, many at a time.

    Raises:
        ValueError: naming the file, and the entry as a row: it cannot be opened, is not
            a JSON list, is truncated or is not UTF-8.
    """
    check_regular(path)
    try:
        with open(path, 'rb') as file:
            yield from _list_blocks(_Text(file, Path(path), _MAX_ENTRY))
    except OSError as error:
        raise InputError(f'{path} cannot be read ({error})') from error
    except UnicodeDecodeError as error:
        raise NotUtf8Error(path, error.reason) from error


def _list_blocks(text: _Text) -> Iterator[list]:
    _check_list(text, 'results')
    block, number = [], 0
    try:
        for entries in _entry_lists(text):
            number += len(entries)
            block += entries
            if len(block) >= _BLOCK:
                yield block
                block = []
    except IncompleteJsonError as error:
        raise InputError(
            f'{text.path}: row {number} (from 0) cannot be read ({error.reason}); the '
            'file may be cut off: write it again'
        ) from error
    if text.peek():
        raise InputError(f'{text.path} has text after its list; write it again')
    yield block


def value_at(path: str | os.PathLike, start: int) -> Any:
    """The JSON value that begins at a byte of a UTF-8 file, whatever follows it.

    Raises:
        IncompleteJsonError: a value that is not JSON, or a truncated one.
        UnicodeDecodeError: if the file is not UTF-8.
    """
    with open(path, 'rb') as file:
        file.seek(start)
        return _Text(file, Path(path)).value()


def stream_lines(path: Path | str) -> Iterator[tuple[int, dict]]:
    """Objects of a .jsonl file with their line numbers from 1; empty lines are skipped.

    Raises:
        ValueError: naming file and line.
    """
    with open_file(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = parse_json(line)
            except ValueError as error:
                raise InputError(
                    f'{path}: line {number} is not JSON ({error}); correct it, or give '
                    'a .jsonl file with one object per line'
                ) from error
            if not isinstance(record, dict):
                raise InputError(f'{path}: line {number} must be a JSON object')
            yield number, record
