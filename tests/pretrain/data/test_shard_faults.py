"""Shards of other writers, truncated shards and damaged ones."""

import os
from itertools import chain

import numpy as np
import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from pretrain.data import ShardDataset
from tests.pretrain.data.shard_files import (
    pair,
    read,
    shorts,
    write_tar,
)


def test_webdataset_shards(tmp_path):
    """No index, folders in names, other members, records without f_path."""
    letters = ['en', 'zh', 'en', 'en', 'zh']
    pairs = [pair(i, name, 'a.b/', 'PNG') for i, name in enumerate(letters)]
    write_tar(tmp_path / 'x.tar', chain(*pairs))
    write_tar(tmp_path / 'y.tar', pair(9)[::-1])
    data = ShardDataset(tmp_path, 2, shuffle=False)
    assert data.num_per_language == {'en': 4, 'zh': 2}
    actual = [[s.short for s in batch] for batch in data]
    assert actual == [['en 0', 'en 2'], ['en 3', 'en 9'], ['zh 1', 'zh 4']]


def test_dotted_keys_are_read_or_counted(tmp_path):
    """'006.mask.png' is a part of sample 006; '008.b.jpg' lacks its record."""
    dotted = [(name.replace('.', '.v2.', 1), data) for name, data in pair(5)]
    part = [('006.mask.png', pair(0)[1][1]), ('._006.jpg', b''), ('._006.json', b'')]
    write_tar(tmp_path / 'x.tar', [*dotted, *pair(6), *part])
    data = ShardDataset(tmp_path, 1, shuffle=False)
    assert [batch[0].short for batch in data] == ['en 5', 'en 6']
    lost = [('008.b.jpg', pair(8)[1][1])]
    write_tar(tmp_path / 'x.tar', [*dotted, *pair(6), *part, *lost])
    with pytest.raises(ValueError, match=r"no image and readable record of '008\.b'"):
        ShardDataset(tmp_path, 1)
    data = ShardDataset(tmp_path, 1, bad_records='skip', shuffle=False)
    assert data.num_lost == 1 and len(data) == 2


def test_a_truncated_shard_with_an_index(shards):
    path = shards / 'shard-000002.tar'
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(ValueError, match=r'shard .*shard-000002.tar has .* cut off'):
        ShardDataset(shards, 4)
    data = ShardDataset(shards, 4, bad_records='skip')
    actual = [s.short for batch in data for s in batch]
    assert len(actual) == len(set(actual)) == 65 - data.num_lost
    assert 0 < data.num_lost < 10


@pytest.mark.parametrize('cut', ['inside', 'between', 'header'])
def test_a_truncated_shard_without_an_index(tmp_path, cut):
    pairs = [pair(i) for i in range(3)]
    write_tar(tmp_path / 'x.tar', chain(*pairs), end=False)
    size = (tmp_path / 'x.tar').stat().st_size
    if cut != 'between':
        os.truncate(tmp_path / 'x.tar', size - (600 if cut == 'inside' else 1000))
    with pytest.raises(ValueError, match=r'x.tar is cut off'):
        ShardDataset(tmp_path, 1)
    data = ShardDataset(tmp_path, 1, bad_records='skip', shuffle=False)
    assert data.num_lost == 1
    whole = 3 if cut == 'between' else 2
    assert [b[0].short for b in data] == [f'en {i}' for i in range(whole)]


def test_no_tar_at_all(tmp_path):
    (tmp_path / 'x.tar').write_bytes(b'no tar' * 1000)
    for policy in ('raise', 'skip'):
        with pytest.raises(ValueError, match=r'shard .*x.tar is not a readable tar'):
            ShardDataset(tmp_path, 1, bad_records=policy)
    write_tar(tmp_path / 'x.tar', [])
    with pytest.raises(ValueError, match='there are no samples'):
        ShardDataset(tmp_path, 1)


def test_incomplete_samples(tmp_path):
    members = [*pair(0), *pair(1)[1:2], *pair(2)[:2], ('002.json', b'{'), *pair(3)]
    write_tar(tmp_path / 'x.tar', members)
    with pytest.raises(ValueError, match=r"no image and readable record of '001'"):
        ShardDataset(tmp_path, 1)
    data = ShardDataset(tmp_path, 1, bad_records='skip', shuffle=False)
    assert data.num_lost == 2
    assert [batch[0].short for batch in data] == ['en 0', 'en 3']


def test_a_broken_image_inside_a_shard(shards):
    table = np.load(shards / 'shard-000000.npy')
    with open(shards / 'shard-000000.tar', 'r+b') as file:
        file.seek(table[3, 0])
        file.write(b'\0' * 100)
    with pytest.raises(
        ValueError, match=r'shard-000000.tar, sample 3: .*cannot be read'
    ):
        read(shards)
    data = ShardDataset(shards, 4, bad_records='skip', shuffle=False)
    samples = list(chain(*data))
    assert len(samples) == 65 and sum(s.num_bad for s in samples) == 1
    (index,) = [i for i, s in enumerate(samples) if s.num_bad]
    assert samples[index].short == samples[index + 1].short == 'text of cat 4'


def test_damaged_index_files(shards):
    table, index = shards / 'shard-000001.npy', shards / 'index.json'
    content = table.read_bytes()
    for data in (content[:50], b'', b'text'):
        table.write_bytes(data)
        with pytest.raises(ValueError, match=r'shard-000001.npy is damaged'):
            ShardDataset(shards, 4)
    np.save(table, np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r'shard-000001.npy is not a table'):
        ShardDataset(shards, 4)
    table.unlink()  # then the shard itself is asked
    assert len(shorts(read(shards))) == 65
    for text in ('{', '[]', '{"shards": [{"name": 3}]}', '{"shards": 3}'):
        index.write_text(text)
        with pytest.raises(ValueError, match=r'index.json is damaged'):
            ShardDataset(shards, 4)
