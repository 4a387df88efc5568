"""Streaming JSON: annotation files entry by entry, in bounded memory."""

import codecs
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

from fgclip2_det.io.atomic import open_atomic, write_atomic
from fgclip2_det.io.text import stream_codec

_CHUNK = 1 << 20
_MAX_IN_MEMORY = 1 << 20
_SPACE = ' \t\n\r'
_DECODE = json.JSONDecoder().raw_decode
_LONGEST_ENTRY = 1 << 26  # characters
_BLOCK = 1 << 16  # entries at a time


def dumps(value: object) -> str:
    """JSON text of a value; letters stay as they are.

    Raises:
        ValueError: if a number is not finite, which JSON cannot hold.
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def check_file(path: Path | str, what: str = 'annotation file') -> Path:
    """The path, which must be a file.

    Raises:
        ValueError: if it is not.
    """
    if not Path(path).is_file():
        raise ValueError(f'there is no {what} {path}; check the path')
    return Path(path)


def check_target(source: Path | str, target: Path | str) -> None:
    """Refuse to write a file over the one it is made from.

    Raises:
        ValueError: if both are one file.
    """
    if Path(target).resolve() == Path(source).resolve():
        raise ValueError(f'{target} would overwrite its source; give another name')


class _IncompleteError(ValueError):
    """A file that is no complete JSON, and why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f'{path} is no complete json file ({reason}); get it again')
        self.reason = reason


class _Text:
    """Text of a file, read when it is needed; a value has ``longest`` characters."""

    def __init__(self, file: Any, path: Path, longest: int | None = None) -> None:
        self.file, self.path, self.longest = file, path, longest
        codec = stream_codec(file.read(4))
        file.seek(0)
        self.decode = codecs.getincrementaldecoder(codec)().decode
        self.buffer, self.at, self.ended = '', 0, False

    def more(self) -> None:
        """Twice as much at each call without progress keeps the time linear."""
        rest = self.buffer[self.at :]
        data = self.file.read(max(_CHUNK, len(rest)))
        self.ended = not data
        self.buffer, self.at = rest + self.decode(data, final=self.ended), 0

    def peek(self) -> str:
        """The next character that is no space, '' at the end."""
        while True:
            while self.at < len(self.buffer) and self.buffer[self.at] in _SPACE:
                self.at += 1
            if self.at < len(self.buffer):
                return self.buffer[self.at]
            if self.ended:
                return ''
            self.more()

    def expect(self, wanted: str) -> str:
        found = self.peek()
        if not found or found not in wanted:
            expected = ' or '.join(repr(c) for c in wanted)
            here = repr(found) if found else 'the end of the file'
            raise self.error(f'expected {expected}, got {here}')
        self.at += 1
        return found

    def value(self) -> Any:
        self.peek()
        while True:
            try:
                value, end = _DECODE(self.buffer, self.at)
            except json.JSONDecodeError as error:
                pending = len(self.buffer) - self.at
                if self.ended or pending > (self.longest or pending):
                    raise self.error(error.msg) from error
            else:
                # 12 at the end of what is read may go on as 123, 12.5 as 12.5e-3
                if self.ended or self.buffer[end : end + 1] not in ('', *'.eE+-'):
                    self.at = end
                    return value
            self.more()

    def error(self, message: str) -> ValueError:
        return _IncompleteError(self.path, message)


def stream_json(path: Path | str) -> Iterator[tuple[str, bool, Any]]:
    """A json object piece by piece: (key, is_entry, value).

    A list under a key of the object comes entry by entry with ``is_entry`` True, after
    one (key, False, []) that opens it; any other value comes whole, ``is_entry``
    False. One entry at a time is in memory.

    Raises:
        ValueError: naming the file: it does not exist, is no json object, is cut off or
            is not UTF-8.
    """
    with open(check_file(path), 'rb') as file:
        try:
            yield from _stream_object(_Text(file, Path(path)))
        except UnicodeDecodeError as error:
            raise ValueError(f'{path} is not UTF-8 text ({error.reason})') from error


def _stream_object(text: _Text) -> Iterator[tuple[str, bool, Any]]:
    if text.peek() != '{':
        raise ValueError(f'{text.path} must be a json object, such as a COCO file')
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
        raise text.error('something follows its end')


def _stream_list(text: _Text) -> Iterator[Any]:
    text.expect('[')
    closing = ',' if text.peek() != ']' else text.expect(']')
    while closing == ',':
        yield text.value()
        closing = text.expect(',]')


def stream_list(path: Path | str) -> Iterator[list]:
    """Entries of a JSON list such as a result list, many at a time.

    Raises:
        ValueError: naming the file, and the entry as a row: it cannot be opened, is no
            JSON list, is cut off or is not UTF-8.
    """
    try:
        with open(path, 'rb') as file:
            yield from _list_blocks(_Text(file, Path(path), _LONGEST_ENTRY))
    except OSError as error:
        raise ValueError(f'{path} cannot be read ({error})') from error
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is not UTF-8 text ({error.reason})') from error


def _list_blocks(text: _Text) -> Iterator[list]:
    if text.peek() != '[':
        start = short_repr(text.buffer[text.at : text.at + 40])
        raise ValueError(f'{text.path} must be a JSON list of results, got {start}')
    entries, block, number = _stream_list(text), [], 0
    try:
        for entry in entries:
            number += 1
            block.append(entry)
            if len(block) == _BLOCK:
                yield block
                block = []
    except _IncompleteError as error:
        raise ValueError(
            f'{text.path}: row {number} (from 0) cannot be read ({error.reason}); the '
            'file may be cut off: write it again'
        ) from error
    if text.peek():
        raise ValueError(f'{text.path} has text after its list; write it again')
    yield block


def stream_lines(path: Path | str) -> Iterator[tuple[int, dict]]:
    """Objects of a jsonl file with their line numbers from 1; empty lines are left out.

    Raises:
        ValueError: naming file and line.
    """
    with open(check_file(path), 'rb') as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise ValueError(
                    f'{path}: line {number} is no json ({error}); correct it, or give '
                    'a jsonl file, one object a line'
                ) from error
            if not isinstance(record, dict):
                raise ValueError(f'{path}: line {number} must be a json object')
            yield number, record


def write_text_pieces(path: Path | str, pieces: Iterable[str]) -> None:
    """Write pieces of text as one UTF-8 file, in full or not at all.

    A short text goes through :func:`.write_atomic`; a long one goes to a hidden
    neighbour piece by piece, which is then renamed. Whatever a piece raises leaves the
    old file as it was.
    """
    path, pieces = Path(path), iter(pieces)
    head, size = [], 0
    for piece in pieces:
        head.append(piece)
        size += len(piece)
        if size > _MAX_IN_MEMORY:
            break
    else:
        write_atomic(path, ''.join(head).encode())
        return
    with open_atomic(path) as file:
        file.write(''.join(head).encode())
        for piece in pieces:
            file.write(piece.encode())


def json_pieces(items: Iterable[tuple[str, bool, Any]]) -> Iterator[str]:
    """Text of a json object from what :func:`stream_json` yields, one entry a line."""
    start, in_list, is_first = '{', False, True
    for key, is_entry, value in items:
        if is_entry:
            yield ('\n' if is_first else ',\n') + dumps(value)
            is_first = False
            continue
        yield ('\n]' if in_list else '') + f'{start}{dumps(key)}: '
        start, in_list, is_first = ',\n', value == [], True
        yield '[' if in_list else dumps(value)
    yield ('\n]' if in_list else '') + ('{}\n' if start == '{' else '}\n')


def coco_pieces(sections: dict[str, Any]) -> Iterator[str]:
    """Text of a COCO file from its sections, iterables or single values, in order."""

    def items() -> Iterator[tuple[str, bool, Any]]:
        for key, section in sections.items():
            if isinstance(section, str | dict):
                yield key, False, section
            else:
                yield key, False, []
                yield from ((key, True, entry) for entry in section)

    return json_pieces(items())
