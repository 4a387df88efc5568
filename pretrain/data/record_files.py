"""Record files, indexed once and read one record at a time.

Twelve million records as dicts would take 100 GB in every worker. Here a record
stays in its file and 17 bytes of index stay in memory: where it starts and ends,
and its language. Processes share the files through the page cache. Files that are
not UTF-8 are kept in memory, as UTF-8.
"""

import os
from array import array
from collections.abc import Sequence
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fgclip2_det.io import InputError
from fgclip2_det.io.json_stream import IncompleteJsonError, NotUtf8Error, stream_spans
from fgclip2_det.io.text import parse_json, read_text

PathLike = str | os.PathLike
Paths = PathLike | Sequence[PathLike]
LANGUAGES = ('en', 'zh')
LANGUAGE_KEY = 'is_cn'
_MARK = f'"{LANGUAGE_KEY}"'.encode()


def one_or_several(paths: Paths) -> list[PathLike]:
    """Paths of one path, or of a list of them."""
    return [paths] if isinstance(paths, str | os.PathLike) else list(paths)


def language_of(record: dict) -> str:
    """'zh' where the key ``is_cn`` is present, else 'en' (spec D.2).

    The released reader tests for the key only; here an explicit false means English.
    """
    return 'en' if record.get(LANGUAGE_KEY) in (None, False) else 'zh'


def read_records(paths: Paths) -> 'RecordStore':
    """Index the records of files.

    Args:
        paths: one or several of: a ``.json`` with a list of records; a ``.jsonl``
            with one record per line; a ``.txt`` with one such path per line,
            relative to the ``.txt`` (blank lines and lines with # are left out);
            a folder, whose ``.json`` and ``.jsonl`` files are taken in order of
            their names. A file that is named twice counts twice.

    Raises:
        ValueError: naming the file (and the record) if one is missing, is of
            another kind, is not valid JSON, or if there are no records at all.

    Example:
        >>> records = read_records('data/finehard/jsonfiles')
        >>> len(records), records[0]['short_caption']
    """
    given = one_or_several(paths)
    files = [
        (file, source)
        for source, path in enumerate(given)
        for file in _find_files(Path(path))
    ]
    return RecordStore(files)


class RecordStore(Sequence):
    """Records of several files, in order; each is parsed on access.

    Args:
        files: (path, index of the given path that it belongs to).

    Attributes:
        languages: (N,) array of 'en' and 'zh'.
    """

    def __init__(self, files: Sequence[tuple[Path, int]]) -> None:
        self.files = [path for path, _ in files]
        tables = [_index_file(path) for path in self.files]
        self._stamps = [stamp for stamp, _, _ in tables]
        self._texts = {n: data for n, (*_, data) in enumerate(tables) if data}
        parts = [table for _, table, _ in tables]
        counts = [len(part) for part in parts]
        self._firsts = np.cumsum([0, *counts])  # first record of each file
        if not self._firsts[-1]:
            names = ', '.join(map(str, self.files)) or 'no files'
            raise InputError(f'there are no records in {names}')
        table = np.concatenate(parts)  # (N, 3): start, end, language
        self._spans, self._codes = table[:, :2].copy(), table[:, 2].astype(np.uint8)
        self._file_sources = np.array([source for _, source in files])

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, index: int) -> dict:
        """A record as its file has it.

        Raises:
            ValueError: naming file and record, if it is not a JSON object, or the
                file is not the one that was indexed.
        """
        index = range(len(self))[index]
        try:
            record = parse_json(self._read(index).decode())
        except ValueError as error:
            raise InputError(
                f'{self.name(index)} is not valid JSON: {error}'
            ) from error
        if not isinstance(record, dict):
            kind = type(record).__name__
            raise InputError(f'{self.name(index)} must be an object, got {kind}')
        return record

    def _read(self, index: int) -> bytes:
        number = self._file_of(index)
        start, end = self._spans[index].tolist()
        if number in self._texts:
            return self._texts[number][start:end]
        try:
            with open(self.files[number], 'rb') as file:
                changed = _stamp(file.fileno()) != self._stamps[number]
                file.seek(start)
                data = file.read(end - start)
        except OSError as error:
            raise InputError(f'{self.name(index)} cannot be read: {error}') from error
        if changed:
            raise InputError(
                f'{self.files[number]} has changed since this run read it; start again'
            )
        return data

    @property
    def languages(self) -> np.ndarray:
        return np.array(LANGUAGES)[self._codes]

    def language(self, index: int) -> str:
        """'en' or 'zh', without reading the record."""
        return LANGUAGES[self._codes[index]]

    def source(self, index: int) -> int:
        """Which of the given paths a record is from."""
        return int(self._file_sources[self._file_of(index)])

    def name(self, index: int) -> str:
        """'file, record n' for messages; n counts from 0, as in a Python list."""
        number = self._file_of(index)
        return f'{self.files[number]}, record {index - self._firsts[number]}'

    def _file_of(self, index: int) -> int:
        return int(np.searchsorted(self._firsts, index, side='right')) - 1


def _find_files(path: Path, parents: tuple[Path, ...] = ()) -> list[Path]:
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix in ('.json', '.jsonl'))
        if not files:
            raise InputError(f'folder {path} holds no .json or .jsonl file')
        return files
    if not path.is_file():
        where = f' (listed in {parents[-1]})' if parents else ''
        raise InputError(f'there is no record file {path}{where}')
    if path.suffix in ('.json', '.jsonl'):
        return [path]
    if path.suffix != '.txt':
        raise InputError(
            f'{path} is not a record file; expected .json, .jsonl, .txt or a folder'
        )
    if path in parents:
        raise InputError(f'{path} lists itself')
    lines = [line.strip() for line in read_text(path).splitlines()]
    listed = [path.parent / line for line in lines if line and line[0] != '#']
    if not listed:
        raise InputError(f'{path} lists no files')
    return list(chain.from_iterable(_find_files(p, (*parents, path)) for p in listed))


def _index_file(path: Path) -> tuple[tuple[int, int], np.ndarray, bytes | None]:
    """Stamp of a file, the (n, 3) int64 table of its records, and its text as UTF-8
    if it is in another encoding."""
    scan = _scan_lines if path.suffix == '.jsonl' else _scan_list
    text = None
    try:
        with open(path, 'rb') as file:
            stamp = _stamp(file.fileno())
            try:
                if b'\0' in file.read(4):
                    raise NotUtf8Error(path, 'it has zero bytes')
                file.seek(0)
                rows = scan(file, path)
            except NotUtf8Error:
                text = read_text(path).encode()
                rows = scan(BytesIO(text), path)
    except OSError as error:
        raise InputError(f'{path} cannot be read: {error}') from error
    return stamp, np.array(rows, np.int64).reshape(-1, 3), text


def _stamp(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_size, status.st_mtime_ns


def _scan_lines(file: BinaryIO, path: Path) -> array:
    """One record per line; only those that mention the language are parsed here."""
    rows, at = array('q'), 0
    for line in file:
        start, at = at, at + len(line)
        if start == 0 and line.startswith(b'\xef\xbb\xbf'):
            start, line = 3, line[3:]
        if not line.strip():
            continue
        try:
            line.decode()
        except UnicodeDecodeError as error:
            raise NotUtf8Error(path, error.reason) from error
        code = 0
        if _MARK in line:
            try:
                record = parse_json(line.decode())
            except ValueError as error:
                raise InputError(
                    f'{path}, record {len(rows) // 3} is not valid JSON: {error}'
                ) from error
            code = isinstance(record, dict) and language_of(record) == 'zh'
        rows.extend((start, at, int(code)))
    return rows


def _scan_list(file: BinaryIO, path: Path) -> array:
    """A list of records, decoded one after the other and dropped again."""
    rows, records = array('q'), stream_spans(file, path)
    try:
        for start, end, record in records:
            zh = isinstance(record, dict) and language_of(record) == 'zh'
            rows.extend((start, end, int(zh)))
    except IncompleteJsonError as error:
        raise InputError(
            f'{path}, record {len(rows) // 3} is not valid JSON ({error.reason}); the '
            'file may be cut off'
        ) from error
    return rows
