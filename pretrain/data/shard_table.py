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
from collections.abc import Iterable, Sequence
from itertools import chain, product
from pathlib import Path

import numpy as np

from fgclip2_det.io import InputError
from fgclip2_det.io.text import check_regular, parse_json, read_json, read_text
from pretrain.data.record_files import LANGUAGES, Paths, language_of, one_or_several

INDEX_NAME = 'index.json'
IMAGE_ENDINGS = ('jpg', 'jpeg', 'png', 'webp')
_BLOCK = 512  # of a tar file
_MAX_OPEN = 16  # shards a process holds open
MAX_SHARDS = 1_000_000  # that the braces of one path stand for
_MAX_DIGITS = 18  # of a number in braces
MAX_RECORD = 16 << 20  # bytes of the JSON of a sample


class ShardError(InputError):
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
        where = f'there are no shards in {", ".join(given)}' if given else ''
        raise InputError(
            where or 'no shards were given, expected a path or a list of them'
        )
    seen: dict[str, Path] = {}
    for path in paths:
        check_regular(path)
        other = seen.setdefault(os.path.realpath(path), path)
        if other is not path:
            raise InputError(
                f'shard {path} is listed twice (also as {other}), and its samples '
                'would count twice; list it once'
            )
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
        raise InputError(f'shard {path} cannot be read: {error}') from error
    if table is None or entry is None:
        return _scan(path, size)
    whole = table[:, [1, 3]] <= size - np.minimum(table[:, [0, 2]], size)
    whole &= table[:, [0, 2]] <= size
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
            raise InputError(f'it cannot be read: {error}') from error
        if len(image) != image_size or len(text) != json_size:
            raise InputError('the shard ends in the middle of it')
        return parse_record(text), image

    def table(self, path: Path) -> np.ndarray:
        """Offsets and languages of a shard's samples, see :func:`load_table`.

        Raises:
            ValueError: if the shard or its table cannot be read.
        """
        try:
            return self._get(path)[1]
        except OSError as error:
            raise InputError(f'shard {path} cannot be read: {error}') from error

    def _get(self, path: Path) -> tuple[int, np.ndarray]:
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        table = self.tables.get(path)
        if table is None:
            table = _read_table(path.with_suffix('.npy'))
        if table is None:
            raise InputError(f'the table beside {path} is gone; write the shards again')
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
        raise InputError(f'its record is not valid JSON: {error}') from error
    if not isinstance(record, dict):
        raise InputError(f'its record must be an object, got {record!r:.200}')
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
            counts = shard['bytes'], shard['samples']
            whole = all(type(count) is int and count >= 0 for count in counts)
            name = shard['name']
            if not (whole and isinstance(name, str) and Path(name).name == name):
                raise InputError(f'an entry is {shard!r:.200}')
        names = [shard['name'] for shard in index['shards']]
        if len(set(names)) < len(names):
            raise InputError('a shard is named twice')
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f'{path} is damaged ({error!r}); write it again') from error
    return index


def index_entries(folder: Path) -> dict[str, dict]:
    """The entry of each shard in a folder's ``index.json``, by name."""
    index = read_index(folder)
    return {} if index is None else {shard['name']: shard for shard in index['shards']}


def _find(text: str, parents: tuple[Path, ...] = ()) -> list[Path]:
    path = Path(text)
    if os.path.isdir(text):  # which is no error of a long name
        return _find_in_folder(path)
    if path.suffix == '.txt' and os.path.isfile(text):
        lines = [line.strip() for line in read_text(path).splitlines()]
        lines = [os.path.join(path.parent, line) for line in lines if line]
        if path.resolve() in parents:
            raise InputError(f'{path} lists itself')
        parents = (*parents, path.resolve())
        return list(chain.from_iterable(_find(line, parents) for line in lines))
    paths = []
    for name in _expand(text):
        exists = os.path.exists(name)  # also where the name has a [ in it
        matches = [name] if exists else sorted(glob.glob(name))
        if not matches:
            raise InputError(f'there is no shard {name}')
        paths += map(Path, matches)
    return paths


def _find_in_folder(folder: Path) -> list[Path]:
    index = read_index(folder)
    if index is None:
        paths = sorted(folder.glob('*.tar'))
        if not paths:
            raise InputError(f'folder {folder} holds no .tar shards')
        return paths
    if not index.get('complete'):
        raise InputError(
            f'{folder} is not finished: run tools/convert_to_shards.py again with the '
            'same arguments to resume'
        )
    paths = [folder / shard['name'] for shard in index['shards']]
    for path in paths:
        if not path.is_file():
            raise InputError(f'there is no shard {path}, but {INDEX_NAME} names it')
    return paths


def _expand(text: str) -> Iterable[str]:
    """Every way to read the braces of a path, in order; :data:`MAX_SHARDS` at most."""
    pieces: list[Sequence[str]] = []
    start, count = 0, 1
    for match in re.finditer(r'\{([^{}]*)\}', text):
        options = _options(match[1], text)
        if options is not None:
            pieces += [[text[start : match.start()]], options]
            start, count = match.end(), count * len(options)
            _check_count(count, text)
    pieces.append([text[start:]])
    return map(''.join, product(*pieces))


def _options(inside: str, text: str) -> Sequence[str] | None:
    numbers = re.fullmatch(r'([0-9]+)\.\.([0-9]+)', inside)
    if not numbers:
        return inside.split(',') if ',' in inside else None
    first, last = numbers[1], numbers[2]
    if max(len(first), len(last)) > _MAX_DIGITS:
        _check_count(MAX_SHARDS + 1, text)
    width = len(first) if first[0] == '0' else 0
    places = range(int(first), int(last) + 1)
    if not places:
        raise InputError(f'{text!r:.200} counts backwards; write {{{last}..{first}}}')
    _check_count(len(places), text)
    return [str(n).zfill(width) for n in places]


def _check_count(count: int, text: str) -> None:
    if count > MAX_SHARDS:
        raise InputError(
            f'{text!r:.200} stands for {count:,} shards or more, at most '
            f'{MAX_SHARDS:,} are expanded; give a folder or a .txt that lists them'
        )


def _read_table(path: Path) -> np.ndarray | None:
    if not path.is_file():
        return None
    try:
        # mapped: a header that claims more than the file holds allocates nothing
        table = np.load(path, mmap_mode='r', allow_pickle=False)
        table = np.array(table) if isinstance(table, np.memmap) else None
    except Exception as error:  # of a header that is evaluated as literals
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise InputError(f'{path} is damaged: {reason:.200}; write it again') from error
    if table is None or not _is_table(table):
        raise InputError(f'{path} is not a table of samples; write it again')
    return table


def _is_table(table: np.ndarray) -> bool:
    if table.ndim != 2 or table.shape[1] != 5 or table.dtype != np.int64:
        return False
    if not len(table):
        return True
    codes, places = table[:, 4], table[:, :4]
    starts = np.unique(places[:, 0])
    known = codes.min() >= 0 and codes.max() < len(LANGUAGES)
    return bool(known and (places >= 0).all() and len(starts) == len(table))


def _scan(path: Path, size: int) -> np.ndarray:
    """Table of a shard that has no index file."""
    groups: dict[tuple[str, str], dict[str, tuple[int, int]]] = {}
    problem = ''
    try:
        with tarfile.open(path, 'r:') as tar:
            for member in tar:
                if member.size < 0 or member.offset_data + member.size > size:
                    problem = (
                        f'is cut off: {member.name!r:.200} has {member.size:,} bytes '
                        f'by its header, the file {size:,}'
                    )
                    break
                if member.isfile():
                    _add_member(path, groups, member)
    except (
        ArithmeticError, LookupError, OSError, RecursionError, ValueError,
        tarfile.TarError,
    ) as error:  # fmt: skip
        if isinstance(error, InputError):
            raise
        if not groups:
            raise InputError(f'shard {path} is not a readable tar: {error}') from error
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


def _add_member(path: Path, groups: dict, member: tarfile.TarInfo) -> None:
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
        if kind in places:
            raise InputError(
                f'shard {path} has {key!r:.200} twice ({kind}), and one of them would '
                'be lost; give every sample its own name'
            )
        places[kind] = member.offset_data, member.size


def _table_row(file, places: dict[str, tuple[int, int]], size: int) -> list | None:
    """A sample's row, None if it is incomplete or its record is not valid JSON."""
    if len(places) < 2 or any(at + length > size for at, length in places.values()):
        return None
    at, length = places['json']
    if length > MAX_RECORD:
        return None
    file.seek(at)
    try:
        language = language_of(parse_record(file.read(length)))
    except ValueError:
        return None
    return [*places['image'], *places['json'], LANGUAGES.index(language)]
