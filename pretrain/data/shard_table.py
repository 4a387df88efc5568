"""Index of the samples of tar shards, and reading of single samples.

A shard is a plain tar of pairs ``KEY.jpg`` (or png, webp) and ``KEY.json``, as in
WebDataset. WebDataset ends a key at its first dot; here 'photo.v2.jpg' and
'photo.v2.json' are a pair as well. ``write_shards`` adds ``index.json`` and, per shard,
``NAME.npy`` with the offsets of its samples. Shards without these are scanned once,
header by header.
"""

import glob
import os
import re
import tarfile
from collections import OrderedDict
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np

from fgclip2_det.io.text import parse_json, read_json, read_text
from pretrain.data.record_files import LANGUAGES, Paths, language_of, one_or_several

INDEX_NAME = 'index.json'
IMAGE_ENDINGS = ('jpg', 'jpeg', 'png', 'webp')
_BLOCK = 512  # of a tar file
_MAX_OPEN = 16  # shards a process holds open


class ShardError(ValueError):
    """A shard is damaged; ``table`` has the complete samples.

    Args:
        message: naming the shard.
        table: (n, 5), see :func:`load_table`.
        num_lost: samples known to be missing, at least 1.
    """

    def __init__(self, message: str, table: np.ndarray, num_lost: int) -> None:
        super().__init__(message)
        self.table, self.num_lost = table, max(num_lost, 1)


def find_shards(shards: Paths) -> list[Path]:
    """Paths of shards, in order.

    Args:
        shards: one or several of: a path, with ``{000..012}`` or ``{a,b}`` and
            ``*``, ``?``, ``[...]`` in it; a ``.txt`` with one of these per line,
            relative to it; a folder: what its ``index.json`` names, or its ``.tar``
            files in order of their names.

    Raises:
        ValueError: if there are no shards, or a folder is incomplete.
    """
    given = [os.fspath(path) for path in one_or_several(shards)]
    paths = list(chain.from_iterable(map(_find, given)))
    if not paths:
        raise ValueError('no shards were given, expected a path or a list of them')
    return paths


def load_table(path: Path, entry: dict | None = None) -> np.ndarray:
    """Offsets of a shard's samples.

    Args:
        path: of the shard.
        entry: its entry in ``index.json`` (:func:`index_entries`); None scans the
            shard.

    Returns:
        (n, 5) int64: offset and size of the image, offset and size of the record,
        number of the language in ``LANGUAGES``.

    Raises:
        ShardError: if the shard is truncated or holds damaged members.
        ValueError: if it is not a tar file.
    """
    try:
        size = path.stat().st_size
        table = _read_table(path.with_suffix('.npy')) if entry else None
    except OSError as error:
        raise ValueError(f'shard {path} cannot be read: {error}') from error
    if table is None or entry is None:
        return _scan(path, size)
    whole = table[:, [0, 2]] + table[:, [1, 3]] <= size
    kept = table[whole.all(1)]
    if size != entry['bytes'] or len(table) != entry['samples']:
        raise ShardError(
            f'shard {path} has {size} bytes, {len(kept)} whole samples; {INDEX_NAME} '
            f'says {entry["bytes"]} and {entry["samples"]}: it was cut off or '
            'changed, copy or write it again',
            kept,
            entry['samples'] - len(kept),
        )
    return table


class ShardReader:
    """Reads samples of shards by shard and place, few files open at a time.

    Args:
        tables: of shards that have none on disk, by path.
    """

    def __init__(self, tables: dict[Path, np.ndarray] | None = None) -> None:
        self.tables = tables or {}
        self._open: OrderedDict[Path, tuple[int, np.ndarray]] = OrderedDict()

    def __getstate__(self) -> dict:
        return self.__dict__ | dict(_open=OrderedDict())

    def __call__(self, path: Path, number: int) -> tuple[dict, bytes]:
        """Record and image file of a sample.

        Raises:
            ValueError: if it cannot be read whole, or its record is not a JSON object.
        """
        try:
            file, table = self._get(path)
            image_at, image_size, json_at, json_size, _ = table[number].tolist()
            image = os.pread(file, image_size, image_at)
            text = os.pread(file, json_size, json_at)
        except OSError as error:
            raise ValueError(f'it cannot be read: {error}') from error
        if len(image) != image_size or len(text) != json_size:
            raise ValueError('the shard ends in the middle of it')
        return parse_record(text), image

    def _get(self, path: Path) -> tuple[int, np.ndarray]:
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        table = self.tables.get(path)
        if table is None:
            table = _read_table(path.with_suffix('.npy'))
        if table is None:
            raise ValueError(f'the table beside {path} is gone; write the shards again')
        self._open[path] = os.open(path, os.O_RDONLY), table
        if len(self._open) > _MAX_OPEN:
            os.close(self._open.popitem(last=False)[1][0])
        return self._open[path]

    def __del__(self) -> None:
        for file, _ in self.__dict__.get('_open', {}).values():
            os.close(file)


def parse_record(data: bytes) -> dict:
    """A record's JSON; ValueError if it is not an object."""
    try:
        record = parse_json(data.decode())
    except ValueError as error:
        raise ValueError(f'its record is not valid JSON: {error}') from error
    if not isinstance(record, dict):
        raise ValueError(f'its record must be an object, got {record!r}')
    return record


def read_index(folder: Path) -> dict | None:
    """Content of ``index.json``, None where there is none.

    Raises:
        ValueError: if it is damaged.
    """
    path = folder / INDEX_NAME
    if not path.is_file():
        return None
    try:
        index = read_json(path)
        for shard in index['shards']:
            whole = isinstance(shard['bytes'], int), isinstance(shard['samples'], int)
            if not (isinstance(shard['name'], str) and all(whole)):
                raise ValueError(f'an entry is {shard}')
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f'{path} is damaged ({error!r}); write it again') from error
    return index


def index_entries(folder: Path) -> dict[str, dict]:
    """The entry of each shard in a folder's ``index.json``, by name."""
    index = read_index(folder)
    return {} if index is None else {shard['name']: shard for shard in index['shards']}


def _find(text: str) -> list[Path]:
    path = Path(text)
    if path.is_dir():
        return _find_in_folder(path)
    if path.suffix == '.txt' and path.is_file():
        lines = [line.strip() for line in read_text(path).splitlines()]
        lines = [os.path.join(path.parent, line) for line in lines if line]
        return list(chain.from_iterable(map(_find, lines)))
    paths = []
    for name in _expand(text):
        exists = Path(name).is_file()  # also where the name has a [ in it
        matches = [name] if exists else sorted(glob.glob(name))
        if not matches:
            raise ValueError(f'there is no shard {name}')
        paths += map(Path, matches)
    return paths


def _find_in_folder(folder: Path) -> list[Path]:
    index = read_index(folder)
    if index is None:
        paths = sorted(folder.glob('*.tar'))
        if not paths:
            raise ValueError(f'folder {folder} holds no .tar shards')
        return paths
    if not index.get('complete'):
        raise ValueError(
            f'{folder} is not finished: run tools/convert_to_shards.py again with the '
            'same arguments to resume'
        )
    paths = [folder / shard['name'] for shard in index['shards']]
    for path in paths:
        if not path.is_file():
            raise ValueError(f'there is no shard {path}, but {INDEX_NAME} names it')
    return paths


def _expand(text: str) -> Iterable[str]:
    """Every way to read the braces of a path, in order."""
    match = re.search(r'\{([^{}]*)\}', text)
    options = _options(match[1]) if match else None
    if match is None or options is None:
        return [text]
    head, tail = text[: match.start()], text[match.end() :]
    return [head + option + rest for option in options for rest in _expand(tail)]


def _options(inside: str) -> list[str] | None:
    numbers = re.fullmatch(r'(\d+)\.\.(\d+)', inside)
    if numbers:
        first, last = numbers[1], numbers[2]
        width = len(first) if first[0] == '0' else 0
        return [str(n).zfill(width) for n in range(int(first), int(last) + 1)]
    return inside.split(',') if ',' in inside else None


def _read_table(path: Path) -> np.ndarray | None:
    if not path.is_file():
        return None
    try:
        table = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f'{path} is damaged: {error}; write it again') from error
    fits = table.ndim == 2 and table.shape[1] == 5 and table.dtype == np.int64
    if not fits or (len(table) and not 0 <= table[:, 4].max() < len(LANGUAGES)):
        raise ValueError(f'{path} is not a table of samples; write it again')
    return table


def _scan(path: Path, size: int) -> np.ndarray:
    """Table of a shard that has no index file."""
    groups: dict[tuple[str, str], dict[str, tuple[int, int]]] = {}
    problem = ''
    try:
        with tarfile.open(path, 'r:') as tar:
            for member in tar:
                if member.isfile():
                    _add_member(groups, member)
    except (tarfile.TarError, OSError) as error:
        if not groups:
            raise ValueError(f'shard {path} is not a readable tar: {error}') from error
        problem = f'is cut off: {error}'
    with open(path, 'rb') as file:
        file.seek(max(size - _BLOCK, 0))
        if not problem and file.read().strip(b'\0'):
            problem = 'is cut off: it has no end mark'
        rows, broken = [], []
        for (stem, middle), places in groups.items():
            row = _table_row(file, places, size)
            if row is not None:
                rows.append(row)
            elif not middle or len(groups.get((stem, ''), ())) < 2:
                broken.append(f'{stem}.{middle}' if middle else stem)
    table = np.array(rows, np.int64).reshape(-1, 5)
    if broken and not problem:
        problem = f'has no image and readable record of {broken[0]!r}'
    if problem:
        message = f'shard {path} {problem}; copy or write it again'
        raise ShardError(message, table, len(broken))
    return table


def _add_member(groups: dict, member: tarfile.TarInfo) -> None:
    """Note where a member lies, under the parts of its key at the first and last dot.

    With a middle part, as in '7.mask.png', it may be one more part of the sample '7'.
    """
    folder, _, name = member.name.rpartition('/')
    stem, _, rest = name.partition('.')
    middle, _, ending = rest.rpartition('.')
    ending = ending.lower()
    if stem and (ending == 'json' or ending in IMAGE_ENDINGS):
        kind = 'json' if ending == 'json' else 'image'
        key = f'{folder}/{stem}' if folder else stem
        places = groups.setdefault((key, middle), {})
        places[kind] = member.offset_data, member.size


def _table_row(file, places: dict[str, tuple[int, int]], size: int) -> list | None:
    """A sample's row, None if it is incomplete or its record is not valid JSON."""
    if len(places) < 2 or any(at + length > size for at, length in places.values()):
        return None
    at, length = places['json']
    file.seek(at)
    try:
        language = language_of(parse_record(file.read(length)))
    except ValueError:
        return None
    return [*places['image'], *places['json'], LANGUAGES.index(language)]
