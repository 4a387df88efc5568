"""Conversion of records and their images to tar shards."""

import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fgclip2_det.fgclip2.image import load_image, open_image
from fgclip2_det.io import InputError
from fgclip2_det.io.atomic import open_atomic, write_atomic
from fgclip2_det.io.text import read_bytes
from pretrain.data.dataset import BadRecords
from pretrain.data.record_files import (
    LANGUAGES,
    PathLike,
    RecordStore,
    language_of,
    read_records,
)
from pretrain.data.records import check_record, image_file
from pretrain.data.shard_table import INDEX_NAME, read_index

VERSION = 1
MAX_IMAGE = 1 << 30  # bytes of an image file that is packed
_BLOCK = 512  # a tar header; USTAR names are short enough to need just one
_FORMATS = {'JPEG': 'jpg', 'PNG': 'png', 'WEBP': 'webp'}
_Sample = tuple[str, bytes, bytes, int]  # ending, image file, record, language
_Progress = Callable[[int], object] | None


def write_shards(
    records: RecordStore | PathLike,
    image_root: PathLike,
    out: PathLike,
    max_per_shard: int = 10_000,
    max_bytes: int = 1_000_000_000,
    bad_records: str = 'raise',
    decode: bool = False,
    progress: _Progress = None,
    allow_outside: bool = False,
) -> dict:
    """Pack records into ``out/shard-000000.tar``, ...: KEY.jpg and KEY.json each.

    Image files are copied as they are; those that are neither JPEG, PNG nor WebP
    become PNG. Files get their names when they are complete, and ``index.json`` says
    after each shard how far it got: a run that was killed goes on there and leaves
    the same shards as an uninterrupted one.

    Args:
        records: of one image folder, or files for ``read_records``.
        image_root: folder that ``f_path`` is relative to.
        out: folder; made when missing.
        max_per_shard: samples.
        max_bytes: of a shard; one sample may exceed it.
        bad_records: 'raise', or 'skip' and count.
        decode: decode every image in full, instead of reading its header only.
        progress: called with the number of records done.
        allow_outside: whether records may name images outside ``image_root``, by '..',
            an absolute path or a link.

    Returns:
        Content of ``index.json``: 'samples', 'languages', 'bytes', 'num_bad',
        'complete', 'source', and 'shards' with 'name' and the same counts each.

    Raises:
        ValueError: for a bad record, or if ``out`` holds other shards.
    """
    if max_per_shard < 1 or max_bytes < 1:
        raise InputError(
            'max_per_shard and max_bytes must be 1 or more, got '
            f'{max_per_shard} and {max_bytes}'
        )
    if not isinstance(records, RecordStore):
        records = read_records(records)
    out = Path(out)
    limits = dict(max_per_shard=max_per_shard, max_bytes=max_bytes)
    index = _start(out, records, dict(limits, bad_records=bad_records))
    packer = _Packer(
        records, Path(image_root), BadRecords(bad_records), decode, allow_outside
    )
    num_bad = index['num_bad']
    while not index['complete']:
        path = out / f'shard-{len(index["shards"]):06d}.tar'
        shard, following = packer.write(path, index['next_record'], **limits, progress=
                                        progress)  # fmt: skip
        if shard:
            index['shards'].append(shard)
        index['next_record'], index['num_bad'] = following, num_bad + packer.bad.count
        index['complete'] = following == len(records)
        _save(out, index)
    if not index['samples']:
        raise InputError(f'none of the {len(records)} records is usable')
    return index


class _Packer:
    def __init__(
        self,
        records: RecordStore,
        root: Path,
        bad: BadRecords,
        decode: bool,
        allow_outside: bool,
    ) -> None:
        self.records, self.root, self.bad, self.decode = records, root, bad, decode
        self.allow_outside = allow_outside

    def write(
        self,
        path: Path,
        first: int,
        max_per_shard: int,
        max_bytes: int,
        progress: _Progress,
    ) -> tuple[dict | None, int]:
        """One shard of the records from ``first`` on; its entry in the index, None
        if no record was usable, and the number of the next record."""
        samples = self._usable(first, progress)
        head = next(samples, None)
        if head is None:
            return None, len(self.records)
        samples = chain([head], samples)
        with open_atomic(path) as file:
            rows, following = self._pack(
                file, samples, max_per_shard, max_bytes, progress
            )
            table = np.array(rows, np.int64)
            buffer = BytesIO()
            np.save(buffer, table, allow_pickle=False)
            write_atomic(path.with_suffix('.npy'), buffer.getvalue())
        counts = np.bincount(table[:, 4], minlength=len(LANGUAGES)).tolist()
        return dict(
            name=path.name,
            samples=len(rows),
            languages=dict(zip(LANGUAGES, counts, strict=True)),
            bytes=path.stat().st_size,
        ), following

    def _pack(
        self,
        file: BinaryIO,
        samples: Iterable[tuple[int, _Sample]],
        max_per_shard: int,
        max_bytes: int,
        progress: _Progress,
    ) -> tuple[list[list[int]], int]:
        """Write samples until the shard is full; its table, and the number of the next
        record."""
        rows: list[list[int]] = []
        with tarfile.open(fileobj=file, mode='w', format=tarfile.USTAR_FORMAT) as tar:
            for number, sample in samples:
                if rows and _end(tar, sample) > max_bytes:
                    return rows, number
                rows.append(_add(tar, f'{number:09d}', sample))
                self.bad.add_good()
                if progress:
                    progress(number + 1)
                if len(rows) == max_per_shard:
                    return rows, number + 1
        return rows, len(self.records)

    def _usable(self, first: int, progress: _Progress) -> Iterator[tuple[int, _Sample]]:
        """Numbers and samples from ``first`` on; ``progress`` counts the bad ones."""
        for number in range(first, len(self.records)):
            sample = self._read(number)
            if sample is not None:
                yield number, sample
            elif progress:
                progress(number + 1)

    def _read(self, number: int) -> _Sample | None:
        """One sample; None for a bad record."""
        try:
            name = self.records.name(number)
            record = self.records[number]
            check_record(record, name)
            path = image_file(self.root, record, name, self.allow_outside)
            ending, data = _read_image(path, name, self.decode)
        except ValueError as error:
            self.bad.add(error)
            return None
        text = json.dumps(record, ensure_ascii=False).encode()
        return ending, data, text, LANGUAGES.index(language_of(record))


def _read_image(path: str, name: str, decode: bool) -> tuple[str, bytes]:
    """Ending and bytes of an image file, as PNG if it has another format."""
    try:
        data = read_bytes(path, MAX_IMAGE)
        with open_image(data) as opened:
            ending = _FORMATS.get(opened.format or '')
        if ending is None or decode:
            image = load_image(path)
    except (OSError, ValueError) as error:
        raise InputError(f'{name}: image {path} cannot be read: {error}') from error
    if ending is None:
        buffer = BytesIO()
        image.save(buffer, 'PNG')
        return 'png', buffer.getvalue()
    return ending, data


def _add(tar: tarfile.TarFile, key: str, sample: _Sample) -> list[int]:
    """Append a sample; its row of the table."""
    ending, image, text, language = sample
    row = []
    for name, data in ((f'{key}.{ending}', image), (f'{key}.json', text)):
        info = tarfile.TarInfo(name)
        info.size = len(data)
        row += [tar.offset + _BLOCK, info.size]
        tar.addfile(info, BytesIO(data))
    return [*row, language]


def _end(tar: tarfile.TarFile, sample: _Sample) -> int:
    """Bytes that the tar file would have with a sample and its end mark."""
    blocks = sum(1 + -(-len(data) // _BLOCK) for data in sample[1:3]) + 2
    end = tar.offset + blocks * _BLOCK
    return -(-end // tarfile.RECORDSIZE) * tarfile.RECORDSIZE


def _start(out: Path, records: RecordStore, options: dict) -> dict:
    """The index to go on with."""
    source = dict(
        files=[[path.name, path.stat().st_size] for path in records.files],
        records=len(records),
        **options,
    )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f'{out} cannot be written: {error}') from error
    index = read_index(out)
    if index is None:
        if any(out.glob('*.tar')):
            raise InputError(
                f'{out} holds shards without {INDEX_NAME}; name another folder'
            )
        index = dict(
            version=VERSION, complete=False, source=source, next_record=0, num_bad=0
        )
        return _save(out, index | dict(shards=[]))
    if index.get('version') != VERSION or index.get('source') != source:
        raise InputError(
            f'{out} holds shards of other records or options; name another folder, or '
            'remove it to write it again'
        )
    return index


def _save(out: Path, index: dict) -> dict:
    """Write the index, with totals."""
    shards = index['shards']
    index['samples'] = sum(shard['samples'] for shard in shards)
    index['bytes'] = sum(shard['bytes'] for shard in shards)
    index['languages'] = {
        name: sum(shard['languages'][name] for shard in shards) for name in LANGUAGES
    }
    text = json.dumps(index, indent=1, ensure_ascii=False)
    write_atomic(out / INDEX_NAME, f'{text}\n'.encode())
    return index
