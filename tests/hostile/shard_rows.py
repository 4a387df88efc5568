"""Tar shards, their index and tables, and lists of shards."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from pretrain.data import ShardDataset, write_shards
from pretrain.data.shard_table import find_shards
from tests.hostile.record_rows import PNG, record
from tests.hostile.rows import Row, table
from tests.hostile.text_rows import DEEP, DIGITS, write


# -------------------------------------------------------------------------------- tar
def member(name: str, data: bytes = b'', **changes) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in changes.items():
        setattr(info, key, value)
    return info, data


def sample(key: str = '0', **changes) -> list:
    text = json.dumps(record(**changes)).encode()
    return [member(f'{key}.png', PNG), member(f'{key}.json', text)]


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as file:
        for info, data in members:
            file.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _read(folder: Path, data: bytes) -> object:
    """All samples of one shard."""
    path = write(folder, 'x.tar', data)
    return [s for batch in ShardDataset(path, 1, shuffle=False) for s in batch]


def _claimed(size: int) -> bytes:
    """A tar whose second header claims another size."""
    data = bytearray(tar(*sample()))
    at = 512 + -(-len(PNG) // 512) * 512
    header = tarfile.TarInfo('0.json')
    header.size = size
    data[at : at + 512] = header.tobuf(tarfile.GNU_FORMAT)
    return bytes(data)


def _pax(value: str) -> bytes:
    """A tar with an extended header that overrides the size."""
    info, data = member('0.json', b'{}')
    info.pax_headers = {'size': value}
    return info.tobuf(tarfile.PAX_FORMAT) + data


LINKED = member('0.png', type=tarfile.SYMTYPE, linkname='/etc/hostname')
SHARDS = {
    'fine': (tar(*sample()), None),
    'empty': (b'', 'x.tar'),
    'zeros': (bytes(10240), 'x.tar'),
    'text': (b'hello' * 300, 'not a readable tar'),
    'gzip': (b'\x1f\x8b\x08\0' + bytes(600), 'not a readable tar'),
    'zip': (b'PK\x03\x04' + bytes(600), 'not a readable tar'),
    'half': (tar(*sample('0'), *sample('1'))[:3000], 'x.tar'),
    'no end mark': (tar(*sample())[:-10240], 'x.tar'),
    'header claims 8 GB': (_claimed(8 * 2**30 - 1), 'x.tar'),
    'header claims 2 ** 62 bytes': (_claimed(2**62), 'x.tar'),
    'extended size of 2 ** 62': (_pax(str(2**62)), 'x.tar'),
    'extended size negative': (_pax('-1'), 'x.tar'),
    'extended size a word': (_pax('many'), 'x.tar'),
    'key twice': (tar(*sample('0'), *sample('0')), ('x.tar', 'twice')),
    'image of a key twice': (
        tar(*sample('0'), member('0.jpg', PNG)), ('x.tar', 'twice'),
    ),
    'no record': (tar(member('0.png', PNG)), "'0'"),
    'no image': (tar(member('0.json', b'{}')), "'0'"),
    'record a list': (tar(member('0.png', PNG), member('0.json', b'[]')), "'0'"),
    'record 100,000 deep': (
        tar(member('0.png', PNG), member('0.json', b'[' * DEEP)), "'0'",
    ),
    'record not utf-8': (
        tar(member('0.png', PNG), member('0.json', b'{"caption": "\xff"}')), "'0'",
    ),
    'image damaged': (tar(member('0.png', PNG[:40]), sample()[1]), 'sample 0'),
    'image empty': (tar(member('0.png'), sample()[1]), 'sample 0'),
    'image postscript': (
        tar(member('0.png', b'%!PS-Adobe-3.0\n'), sample()[1]), 'sample 0',
    ),
    'image a link': (tar(LINKED, sample()[1]), "'0'"),
    'a device': (tar(*sample(), member('1.png', type=tarfile.CHRTYPE)), None),
    'a folder': (tar(*sample(), member('1', type=tarfile.DIRTYPE)), None),
    'names that climb': (tar(*sample('../../0')), None),
    'names that are absolute': (tar(*sample('/etc/0')), None),
    'record with a bad box': (tar(*sample(bbox_info=[{'bbox': 3}])), 'sample 0'),
}  # fmt: skip


def _index(folder: Path, change) -> object:
    """A packed folder, its index or table changed, read again."""
    write(folder, 'images/a.png', PNG)
    write(folder, 'train.json', [record(), record()])
    write_shards(folder / 'train.json', folder / 'images', folder / 'out')
    index = json.loads((folder / 'out/index.json').read_text())
    changed = change(folder / 'out', index)
    if changed is not None:
        write(folder, 'out/index.json', changed)
    data = ShardDataset(folder / 'out', 1, shuffle=False)
    return [s for batch in data for s in batch]


def _shard(**changes):
    return lambda out, index: index | {'shards': [index['shards'][0] | changes]}


def _table(change):
    def damage(out: Path, index: dict) -> None:
        (path,) = out.glob('*.npy')
        data = change(np.load(path))
        if isinstance(data, bytes):
            path.write_bytes(data)
        else:
            np.save(path, data, allow_pickle=True)

    return damage


def npy(text: str, data: bytes = b'') -> bytes:
    """An .npy file with a header of one's own."""
    header = text.encode().ljust(117) + b'\n'
    return b'\x93NUMPY\x01\0' + len(header).to_bytes(2, 'little') + header + data


_HEADER = "{{'descr': '{}', 'fortran_order': False, 'shape': {}}}"


def _moved(column: int, value: int):
    def change(table: np.ndarray) -> np.ndarray:
        table[0, column] = value
        return table

    return _table(change)


INDEX = {
    'as written': (lambda out, index: None, None),
    'empty': (lambda out, index: b'', 'index.json'),
    'a list': (lambda out, index: [], 'index.json'),
    '100,000 deep': (lambda out, index: b'[' * DEEP, 'index.json'),
    'shards null': (lambda out, index: index | {'shards': None}, 'index.json'),
    'shards twice': (
        lambda out, index: index | {'shards': index['shards'] * 2}, 'index.json',
    ),
    'name number': (_shard(name=3), 'index.json'),
    'name one up': (_shard(name='../x.tar'), 'index.json'),
    'name absolute': (_shard(name='/etc/hostname'), 'index.json'),
    'name missing': (_shard(name='gone.tar'), 'gone.tar'),
    'bytes text': (_shard(bytes='9'), 'index.json'),
    'bytes negative': (_shard(bytes=-1), '.tar'),
    'samples 10 ** 12': (_shard(samples=10**12), '.tar'),
    'samples true': (_shard(samples=True), 'index.json'),
    'not finished': (lambda out, index: index | {'complete': False}, 'not finished'),
    'table empty': (_table(lambda t: b''), '.npy'),
    'table text': (_table(lambda t: b'hello'), '.npy'),
    'table floats': (_table(lambda t: t.astype(float)), '.npy'),
    'table pickled': (_table(lambda t: np.array([None])), '.npy'),
    'table of four columns': (_table(lambda t: t[:, :4]), '.npy'),
    'table flat': (_table(lambda t: t.ravel()), '.npy'),
    'table claims 10 ** 12 rows': (
        _table(lambda t: npy(_HEADER.format('<i8', (10**12, 5)))), '.npy',
    ),
    'table claims 2 ** 70 rows': (
        _table(lambda t: npy(_HEADER.format('<i8', (2**70, 5)))), '.npy',
    ),
    'table claims -1 rows': (
        _table(lambda t: npy(_HEADER.format('<i8', (-1, 5)))), '.npy',
    ),
    'table header of 60,000 letters': (_table(lambda t: npy(' ' * 60_000)), '.npy'),
    'table header calls': (
        _table(lambda t: npy("{'descr': __import__('os')}")), '.npy',
    ),
    'table header deep': (_table(lambda t: npy('(' * 9000)), '.npy'),
    'offset negative': (_moved(0, -5), '.npy'),
    'size negative': (_moved(1, -5), '.npy'),
    'offset overflows': (_moved(0, 2**63 - 1), '.tar'),
    'language 7': (_moved(4, 7), '.npy'),
    'language -1': (_moved(4, -1), '.npy'),
    'samples exchanged': (_table(lambda t: t[::-1].copy()), None),
    'a sample listed twice': (_table(lambda t: t[[0, 0]]), '.npy'),
}  # fmt: skip


def _find(folder: Path, given) -> object:
    for name in ('a-0.tar', 'a-1.tar', '[b].tar'):
        write(folder, name, tar(*sample()))
    given = given(folder) if callable(given) else str(folder / given)
    return find_shards(given)


LISTS = {
    'pattern': ('a-*.tar', None),
    'braces': ('a-{0..1}.tar', None),
    'braces with a comma': ('a-{0,1}.tar', None),
    'brackets in the name': ('[b].tar', None),
    'missing': ('c.tar', 'c.tar'),
    'pattern without files': ('c*.tar', 'c*.tar'),
    'nothing': (lambda folder: [], 'no shards'),
    'range of 10 ** 11': ('a-{0..99999999999}.tar', 'at most'),
    'range of 5,000 digits': (f'a-{{0..{DIGITS}}}.tar', 'at most'),
    'ranges multiplied': ('a-{0..999}{0..999}{0..999}.tar', 'at most'),
    'alternatives multiplied': ('a-' + '{a,b,c,d,e,f,g,h,i,j}' * 12, 'at most'),
    '2,000 braces': ('{a,b}' * 2000, 'at most'),
    'range backwards': ('a-{1..0}.tar', 'backwards'),
    'brace not closed': ('a-{0..1.tar', 'a-{0..1.tar'),
    'listed twice': (lambda f: [f / 'a-0.tar', f / 'a-0.tar'], 'twice'),
    'twice by a pattern': (lambda f: [f / 'a-0.tar', f / 'a-*.tar'], 'twice'),
    'twice by another path': (lambda f: [f / 'a-0.tar', f / '.' / 'a-0.tar'], 'twice'),
    'twice in braces': ('a-{0,0}.tar', 'twice'),
    'list of itself': (
        lambda f: write(f, 'l.txt', 'l.txt'), ('l.txt', 'itself'),
    ),
    'list of nothing': (lambda f: write(f, 'l.txt', '\n'), 'no shards'),
    'list of a named pipe': (lambda f: _pipe(f / 'x.tar'), ('x.tar', 'pipe')),
}  # fmt: skip


def _pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


ROWS: list[Row] = [
    *table('shard', _read, SHARDS),
    *table('shard index', _index, INDEX),
    *table('shard list', _find, LISTS),
]
