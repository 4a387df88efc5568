"""Readers of text and JSON files, in the encodings of various systems."""

from __future__ import annotations

import codecs
import json
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

from fgclip2_det.io import InputError
from fgclip2_det.io.collector import collector_paused
from fgclip2_det.io.notes import say_once

try:
    import orjson
except ImportError:  # exported models run with a few packages alone
    orjson = None

_BOMS = (  # UTF-32's begins with UTF-16's
    (codecs.BOM_UTF8, 'utf-8-sig'),
    (codecs.BOM_UTF32_LE, 'utf-32'),
    (codecs.BOM_UTF32_BE, 'utf-32'),
    (codecs.BOM_UTF16_LE, 'utf-16'),
    (codecs.BOM_UTF16_BE, 'utf-16'),
)
_GET_AGAIN = 'if it is cut off, get it again'
TOO_DEEP = 'its values are nested too deeply, about 1,000 levels can be read'
MAX_TEXT = 4 << 30  # bytes of a file that is read at once; LVIS has 1.1 GB
_A_FILE = 'expected a file; write what it yields to a file first'
_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, 'a folder'),
    (stat.S_ISFIFO, 'a pipe'),
    (stat.S_ISSOCK, 'a socket'),
    (stat.S_ISCHR, 'a device'),
    (stat.S_ISBLK, 'a device'),
)
_DIGITS = bytes(ord('0') if chr(c).isdecimal() else ord(' ') for c in range(128)) + (
    b' ' * 128
)
_LONG = b'0' * 19
_MAX_COPY = 1 << 25  # characters
_NO_BRACKETS = bytes(c for c in range(256) if chr(c) not in '[]{}')
_DEEP = 900  # brackets
_LONG_INTEGER = re.compile(rb'(?<![\d.])\d{19}').search
_CHINESE = 'gb18030'  # contains GBK and GB 2312
_SINGLE_BYTE = (
    'ascii', 'latin_1', 'iso8859_2', 'iso8859_5', 'iso8859_15', 'koi8_r',
    'cp1250', 'cp1251', 'cp1252', 'cp1253', 'cp1254', 'cp1257',
)  # fmt: skip
_MULTI_BYTE = (
    'gb18030', 'big5', 'shift_jis', 'cp932', 'euc_jp', 'euc_kr', 'cp949',
)  # fmt: skip
_UNICODE = ('utf_8', 'utf_16', 'utf_16_le', 'utf_16_be', 'utf_32')


def check_regular(path: str | os.PathLike) -> int:
    """Size in bytes of a file, which is looked at and not opened: a pipe may have no
    end, and nobody at its other side.

    Raises:
        InputError: naming the path: there is no such file, or it is a folder, a pipe, a
            socket or a device.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: a null character
        raise InputError(f'{path} cannot be read ({error})') from error
    if kind := kind_of(status.st_mode):
        raise InputError(f'{path} cannot be read: it is {kind}, {_A_FILE}')
    return status.st_size


def kind_of(mode: int) -> str | None:
    """'a folder', 'a pipe', 'a socket' or 'a device'; None for a file.

    Args:
        mode: ``st_mode`` of :func:`os.stat`.
    """
    return next((kind for test, kind in _KINDS if test(mode)), None)


def read_bytes(path: str | os.PathLike, limit: int = MAX_TEXT) -> bytes:
    """Bytes of a file.

    Args:
        path: of the file.
        limit: bytes that it may have.

    Raises:
        InputError: naming the file: see :func:`check_regular`; it is larger, may not be
            read, or does not fit into memory.
    """
    size = check_regular(path)
    if size > limit:
        raise InputError(
            f'{path} has {size:,} bytes, at most {limit:,} are read; give a smaller '
            'file'
        )
    try:
        return Path(path).read_bytes()
    except (OSError, MemoryError) as error:
        reason = str(error) or 'it does not fit into memory'
        raise InputError(f'{path} cannot be read ({reason})') from error


def read_text(path: str | os.PathLike, encoding: str | None = None) -> str:
    """Text of a file; see :func:`decode_text`.

    Raises:
        InputError: naming the file: what :func:`read_bytes` refuses, or an encoding
            that is not known.
    """
    return decode_text(read_bytes(path), path, encoding)


def read_json(path: str | os.PathLike, remedy: str = _GET_AGAIN) -> Any:
    """Content of a JSON file, in any encoding of :func:`decode_text`.

    Args:
        path: of the file.
        remedy: what the message of a file that is not JSON advises.

    Raises:
        InputError: naming the file: it cannot be opened, or is not complete JSON.
    """
    return _parse_json(read_text(path), path, remedy)


def parse_json(text: str | bytes) -> Any:
    """:func:`json.loads` that raises ``ValueError`` for whatever it cannot read.

    Raises:
        ValueError: text that is not JSON, a number of thousands of digits, and values
            nested more deeply than Python's recursion limit, about 1,000 levels.
    """
    try:
        with collector_paused():
            return json.loads(text) if isinstance(text, bytes) else load_json(text)
    except RecursionError as error:
        raise InputError(TOO_DEEP) from error


def load_json(text: str) -> Any:
    """:func:`json.loads`, by orjson where it reads the same: not numbers that Python
    alone takes for JSON (NaN, 1e999) or keeps as whole ones (19 digits and more), nor
    halves of surrogates or deep nests. What is wrong with a text is json's to say, and
    so is a text of which a copy in bytes would take much memory."""
    if orjson is None or len(text) > _MAX_COPY:
        return json.loads(text)
    try:
        data = text.encode()
        is_long = _LONG in data.translate(_DIGITS) and _LONG_INTEGER(data)
        if not is_long and not _is_deep(data):
            return orjson.loads(data)
    except ValueError:  # of encode and of orjson
        pass
    return json.loads(text)


def _is_deep(data: bytes) -> bool:
    """Whether values may be nested beyond what json reads, which orjson may read."""
    brackets = data.translate(None, _NO_BRACKETS)
    for pair in (b'[]', b'{}') * 3:
        brackets = brackets.replace(pair, b'')
    return len(brackets) > _DEEP


def json_values(value: object, default: Callable | None = None) -> Any:
    """A value as :func:`read_json` gives it back: tuples become lists.

    Args:
        value: of dicts, lists, tuples, texts, numbers; dicts are copied.
        default: what stands for any other object; TypeError for it when None.
    """
    return json.loads(json.dumps(value, default=default))


def decode_json(data: bytes, path: str | os.PathLike) -> object:
    """:func:`read_json` of bytes that a file backend has read."""
    return _parse_json(decode_text(data, path), path)


def _parse_json(text: str, path: str | os.PathLike, remedy: str = _GET_AGAIN) -> object:
    try:
        return parse_json(text)
    except ValueError as error:
        raise InputError(
            f'{path} cannot be read as JSON ({error}); {remedy}'
        ) from error


def decode_text(
    data: bytes, path: str | os.PathLike, encoding: str | None = None
) -> str:
    """Text of a file's bytes, without a byte order mark.

    A byte order mark decides. Without one it is UTF-8, then UTF-16 where every other
    byte is 0, then GB 18030 (GBK, GB 2312) where its characters are common ones; one
    warning then names the file.

    Args:
        data: all bytes of the file.
        path: of the file, for messages.
        encoding: what the file or the user says it is. UTF-8 and a byte order mark
            still win where the bytes are clearly that: editors convert a file and leave
            its declaration as it was.

    Raises:
        InputError: naming the file: it is in none of these encodings, or ``encoding``
            is not known.
    """
    for mark, name in _BOMS:
        if data.startswith(mark):
            return _decode(data, name, path)
    codec = None if encoding is None else _codec(encoding, path)
    text = _try(data, 'utf-8')
    if text is None or '\0' in text or not _is_plainly_utf8(text, codec):
        text = codec and _try(data, codec)
    return _guess(data, path) if text is None else text


def stream_codec(head: bytes) -> str:
    """Codec of a file that is read piece by piece, from its first four bytes."""
    return next((name for mark, name in _BOMS if head.startswith(mark)), 'utf-8')


def _guess(data: bytes, path: str | os.PathLike) -> str:
    if data[1::2].count(0) > len(data) // 4:
        return _decode(data, 'utf-16-le', path)
    if data[::2].count(0) > len(data) // 4:
        return _decode(data, 'utf-16-be', path)
    text = _try(data, _CHINESE)
    if text is None or '\0' in text or not _is_common_chinese(text):
        raise InputError(
            f'{path} is in an unknown encoding, neither UTF-8 nor UTF-16 nor GB 18030; '
            'save it as UTF-8'
        )
    what = 'is not UTF-8 and was read as GB 18030 (GBK)'
    say_once(f'{path} {what}; other files may follow', what)  # a folder gives one line
    return text


def _codec(encoding: str, path: str | os.PathLike) -> str:
    """Name of a text codec; others, such as 'zip', are refused."""
    try:
        name = codecs.lookup(encoding).name.replace('-', '_')
    except (LookupError, ValueError):  # ValueError: a null character
        name = ''
    name = {'iso8859_1': 'latin_1', 'gb2312': _CHINESE, 'gbk': _CHINESE}.get(name, name)
    if name not in (*_SINGLE_BYTE, *_MULTI_BYTE, *_UNICODE):
        raise InputError(
            f'{path}: the encoding {short_repr(encoding)} is not known; save the file '
            'as UTF-8'
        )
    return name


def _try(data: bytes, codec: str) -> str | None:
    try:
        return data.decode(codec)
    except UnicodeDecodeError:
        return None


def _decode(data: bytes, codec: str, path: str | os.PathLike) -> str:
    try:
        return data.decode(codec).removeprefix('\ufeff')
    except UnicodeDecodeError as error:
        raise InputError(f'{path} is not complete {codec} text ({error})') from error


def _is_plainly_utf8(text: str, codec: str | None) -> bool:
    """Whether bytes that are valid UTF-8 are so although ``codec`` is declared.

    A pair of GB 2312 bytes may be a valid two-byte sequence; one of three bytes is no
    accident.
    """
    if codec is None or codec in _UNICODE or text.isascii():
        return True
    return codec in _SINGLE_BYTE or any(char >= '\u0800' for char in text)


def _is_common_chinese(text: str) -> bool:
    """Whether at least half of the characters beyond ASCII are of GB 2312.

    Other 8-bit text decodes as GBK too ('réel' as 'r閑l'), into rare characters.
    """
    beyond = [char for char in text if not char.isascii()]
    known = sum(_is_gb2312(char) for char in beyond)
    return known * 2 >= len(beyond)


def _is_gb2312(char: str) -> bool:
    try:
        char.encode('gb2312')
    except UnicodeEncodeError:
        return False
    return True
