"""Shards: written whole or not at all, read back exactly, shared without loss."""

import io
import json
import os
import shutil
import tarfile
import warnings
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from pretrain.data import (
    AlignmentCollate,
    ShardDataset,
    read_records,
    shard_writer,
    write_shards,
)
from pretrain.data.shard_plan import ShardPlan
from pretrain.data.shard_table import find_shards

LETTERS = 'eezeezzeeeeze' * 5  # 45 English, 20 Chinese


@pytest.fixture
def shards(write_data):
    """Folder with 7 shards of 10 samples, the last of 5."""
    folder = write_data(LETTERS)
    write_shards(folder / 'records.json', folder, folder / 'shards', max_per_shard=10)
    return folder / 'shards'


def digest(samples):
    return [
        (s.language, s.short, s.phrases, int(np.asarray(s.image, np.int64).sum()))
        for s in samples
    ]


def read(shards, batch_size=4, workers=0, epoch=0, skip=0, **kwargs):
    data = ShardDataset(
        shards, batch_size, **{'seed': 5, 'shuffle_buffer': 16} | kwargs
    )
    data.set_epoch(epoch)
    data.skip(skip)
    loader = DataLoader(
        data, batch_size=1, num_workers=workers, collate_fn=lambda item: digest(item[0])
    )
    return list(loader)


def shorts(batches):
    return [sample[1] for sample in chain(*batches)]


# ----------------------------------------------------------------------- writing
def test_what_is_written(write_data):
    folder = write_data('eezee')
    out = folder / 'out'
    told = []
    index = write_shards(
        folder / 'records.json', folder, out, max_per_shard=2, progress=told.append
    )
    assert told == [1, 2, 3, 4, 5] and index['complete']
    assert index == json.loads((out / 'index.json').read_text('utf-8'))
    assert index['samples'] == 5 and index['languages'] == {'en': 4, 'zh': 1}
    assert [s['samples'] for s in index['shards']] == [2, 2, 1]
    assert index['shards'][1]['languages'] == {'en': 1, 'zh': 1}
    sizes = [(out / s['name']).stat().st_size for s in index['shards']]
    assert [s['bytes'] for s in index['shards']] == sizes
    assert index['bytes'] == sum(sizes)
    names = ['index.json'] + [
        f'shard-00000{i}.{end}' for i in range(3) for end in ('npy', 'tar')
    ]
    assert sorted(path.name for path in out.iterdir()) == names
    records = read_records(folder / 'records.json')
    with tarfile.open(out / 'shard-000001.tar') as tar:
        assert tar.getnames() == [f'00000000{i}.{e}' for i in (2, 3) for e in
                                  ('jpg', 'json')]  # fmt: skip
        original = (folder / 'pictures' / '2.jpg').read_bytes()
        assert tar.extractfile('000000002.jpg').read() == original
        assert json.loads(tar.extractfile('000000002.json').read()) == records[2]


def test_shards_keep_to_a_size(write_data):
    folder = write_data('e' * 12)
    index = write_shards(
        folder / 'records.json', folder, folder / 'out', max_bytes=20480
    )
    assert all(s['bytes'] <= 20480 and s['samples'] > 1 for s in index['shards'])
    tiny = write_shards(folder / 'records.json', folder, folder / 'tiny', max_bytes=1)
    assert [s['samples'] for s in tiny['shards']] == [1] * 12


def test_other_formats_become_png(tmp_path, write, record):
    records = [record(0) | {'f_path': name} for name in ('a.bmp', 'b.webp', 'c.png')]
    write(tmp_path / 'r.json', records)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    for name in ('a.bmp', 'b.webp', 'c.png'):
        Image.fromarray(pixels).save(tmp_path / name)
    write_shards(tmp_path / 'r.json', tmp_path, tmp_path / 'out')
    with tarfile.open(tmp_path / 'out' / 'shard-000000.tar') as tar:
        names = tar.getnames()[::2]
        assert names == ['000000000.png', '000000001.webp', '000000002.png']
        png = Image.open(io.BytesIO(tar.extractfile(names[0]).read()))
        np.testing.assert_array_equal(np.asarray(png), pixels)


@pytest.mark.parametrize('when', ['shard', 'rename', 'index'])
def test_a_killed_run_goes_on_to_the_same_files(write_data, monkeypatch, when):
    folder = write_data('ez' * 6)
    arguments = (folder / 'records.json', folder)
    write_shards(*arguments, folder / 'whole', max_per_shard=5)

    class Killed(BaseException):
        pass

    def die(number):
        if number == 8:
            raise Killed

    progress, calls = (die if when == 'shard' else None), []
    if when != 'shard':
        # the index, then for each shard: its table, itself, the index
        owner, name, last = {
            'rename': (os, 'replace', 6),
            'index': (shard_writer, '_save', 3),
        }[when]
        real = getattr(owner, name)

        def dies(*args):
            calls.append(args)
            if len(calls) == last:
                raise Killed
            return real(*args)

        monkeypatch.setattr(owner, name, dies)
    with pytest.raises(Killed):
        write_shards(*arguments, folder / 'out', max_per_shard=5, progress=progress)
    monkeypatch.undo()
    with pytest.raises(ValueError, match='is not finished: run tools/convert'):
        ShardDataset(folder / 'out', 2)
    told = []
    write_shards(*arguments, folder / 'out', max_per_shard=5, progress=told.append)
    assert told[0] > 5 and told[-1] == 12  # the first shard was not written again
    for path in (folder / 'whole').iterdir():
        assert path.read_bytes() == (folder / 'out' / path.name).read_bytes()
    assert len(list((folder / 'out').glob('*.tar'))) == 3
    again = []
    write_shards(*arguments, folder / 'out', max_per_shard=5, progress=again.append)
    assert again == []


def test_bad_records_while_writing(write_data, tmp_path):
    folder = write_data('eeee')
    (folder / 'pictures' / '1.jpg').unlink()
    (folder / 'pictures' / '2.jpg').write_bytes(b'no image')
    whole = (folder / 'pictures' / '3.jpg').read_bytes()
    (folder / 'pictures' / '3.jpg').write_bytes(whole[:-20])  # has a header
    records = folder / 'records.json'
    with pytest.raises(ValueError, match=r'record 1: image .*1.jpg cannot be read'):
        write_shards(records, folder, tmp_path / 'a')
    index = write_shards(records, folder, tmp_path / 'b', bad_records='skip')
    assert (index['samples'], index['num_bad']) == (2, 2)
    options = dict(bad_records='skip', decode=True)
    index = write_shards(records, folder, tmp_path / 'c', **options)
    assert (index['samples'], index['num_bad']) == (1, 3)
    (folder / 'pictures' / '0.jpg').unlink()
    with pytest.raises(ValueError, match='none of the 4 records is usable'):
        write_shards(records, folder, tmp_path / 'd', **options)


def test_a_folder_with_other_shards_is_left_alone(shards, write_data, tmp_path):
    folder = shards.parent
    before = {path: path.read_bytes() for path in shards.iterdir()}
    with pytest.raises(ValueError, match='other records or options'):
        write_shards(folder / 'records.json', folder, shards, max_per_shard=7)
    (tmp_path / 'foreign').mkdir()
    shutil.copy(shards / 'shard-000000.tar', tmp_path / 'foreign')
    with pytest.raises(ValueError, match=r'shards without index.json'):
        write_shards(folder / 'records.json', folder, tmp_path / 'foreign')
    with pytest.raises(ValueError, match='max_per_shard and max_bytes must be'):
        write_shards(folder / 'records.json', folder, shards, max_per_shard=0)
    assert before == {path: path.read_bytes() for path in shards.iterdir()}


# ----------------------------------------------------------------------- finding
def test_ways_to_name_shards(shards):
    paths = [shards / f'shard-00000{i}.tar' for i in range(7)]
    (shards / 'list.txt').write_text('shard-00000{0..2}.tar\n\nshard-00000[3-6].tar\n')
    for given, expected in (
        (shards, paths),
        (str(shards / '*.tar'), paths),
        (str(shards / 'shard-{000001..000003}.tar'), paths[1:4]),
        (str(shards / 'shard-00000{1,4}.tar'), [paths[1], paths[4]]),
        ([paths[3], shards / 'shard-00000{0..1}.tar'], [paths[3], *paths[:2]]),
        (shards / 'list.txt', paths),
    ):
        assert find_shards(given) == expected
    with pytest.raises(ValueError, match=r'there is no shard .*shard-000007.tar'):
        find_shards(shards / 'shard-{000006..000008}.tar')
    with pytest.raises(ValueError, match='no shards were given'):
        find_shards([])
    with pytest.raises(ValueError, match=r'holds no .tar shards'):
        find_shards(shards.parent / 'pictures')
    paths[2].unlink()
    with pytest.raises(ValueError, match=r'shard-000002.tar, but index.json names it'):
        find_shards(shards)


# ----------------------------------------------------------------------- reading
def test_samples_are_those_of_the_records(shards):
    """Same choices as from the files, given the same generator."""
    batches = read(shards, shuffle=False)
    assert [len(b) for b in batches] == [4] * 10 + [3, 2] + [4] * 5
    numbers = [i for i, letter in enumerate(LETTERS) if letter == 'e']
    assert shorts(batches)[:45] == [f'text of cat {i}' for i in numbers]
    pictures = shards.parent / 'pictures'
    for sample in chain(*batches):
        number = ''.join(filter(str.isdigit, sample[1]))
        with Image.open(pictures / f'{number}.jpg') as image:
            assert np.asarray(image.convert('RGB'), np.int64).sum() == sample[3]


def test_an_epoch_holds_every_sample_once(shards):
    first, second = read(shards), read(shards, epoch=1)
    for batches in (first, second):
        assert len(batches) == len(ShardDataset(shards, 4)) == 17
        assert len(set(shorts(batches))) == len(LETTERS) == len(shorts(batches))
        assert all(len({s[0] for s in batch}) == 1 for batch in batches)
    assert [b[0][0] for b in first] != sorted(b[0][0] for b in first)
    assert shorts(first) != shorts(second)
    assert read(shards) == first and read(shards, seed=6) != first
    phrases = [{s[1]: s[2] for s in chain(*b)} for b in (first, second)]
    assert phrases[0] != phrases[1]  # drawn anew


def test_samples_stay_near_their_shard(shards):
    """A window of 16 moves no sample by 16 places or more in its shards' order."""
    plan = ShardPlan([np.zeros(100, np.uint8)] * 10, 10, 0, 1, 16)
    samples = np.concatenate(
        [language[list(places)] for language, places in plan.batches(0, 0, 0, 1)]
    )
    blocks = [samples[i : i + 100] // 100 for i in range(0, 1000, 100)]
    assert all(np.bincount(block).max() >= 84 for block in blocks)
    assert len({int(np.bincount(block).argmax()) for block in blocks}) == 10


@pytest.mark.parametrize('workers', [1, 2])
def test_workers_do_not_matter(shards, workers):
    assert read(shards, workers=workers) == read(shards)


@pytest.mark.parametrize('split', ['shard', 'sample', 'auto'])
@pytest.mark.parametrize('world_size', [2, 3])
def test_processes_share_an_epoch(shards, split, world_size):
    for epoch in range(2):
        parts = [
            read(shards, epoch=epoch, split=split, rank=rank, world_size=world_size)
            for rank in range(world_size)
        ]
        assert len({len(part) for part in parts}) == 1
        found = sorted(chain(*(shorts(part) for part in parts)))
        assert found == sorted(shorts(read(shards)))
        for batches in zip(*parts, strict=True):
            assert all(1 <= len(batch) <= 4 for batch in batches)
            assert len({s[0] for batch in batches for s in batch}) == 1
        if split == 'sample':
            joined = [list(chain(*batches)) for batches in zip(*parts, strict=True)]
            assert joined == read(shards, batch_size=4 * world_size, epoch=epoch)


def test_the_split_follows_the_shards():
    """By shard only if the smallest share is 0.9 of the largest."""
    even, mixed = [np.zeros(100, np.uint8)] * 8, np.arange(100, dtype=np.uint8) % 2
    assert ShardPlan(even, 10, 0, 4, 0).by_shard
    assert not ShardPlan(even, 10, 0, 3, 0).by_shard  # 3, 3 and 2 shards
    assert ShardPlan(even, 10, 0, 3, 0, 'shard').by_shard
    assert not ShardPlan(even, 10, 0, 1, 0).by_shard
    assert ShardPlan([mixed] * 8, 10, 0, 4, 0).by_shard
    lopsided = [*even, np.ones(100, np.uint8)]  # one Chinese shard for two
    assert not ShardPlan(lopsided, 10, 0, 2, 0).by_shard
    with pytest.raises(ValueError, match="use split='auto', or write smaller"):
        ShardPlan(lopsided, 10, 0, 2, 0, 'shard')
    with pytest.raises(ValueError, match='1 records of a language cannot be shared'):
        ShardPlan([np.array([0, 0, 0, 1], np.uint8)], 10, 0, 2, 0)


def test_shares_of_shards_go_round():
    plans = [ShardPlan([np.zeros(20, np.uint8)] * 4, 5, r, 2, 8) for r in range(2)]
    seen = []
    for epoch in range(2):
        shares = [
            {
                int(i) // 20
                for language, _ in p.batches(0, epoch, 0, 1)
                for i in language
            }
            for p in plans
        ]
        assert shares[0] | shares[1] == {0, 1, 2, 3} and not shares[0] & shares[1]
        seen.append(shares[0])
    assert seen[0] != seen[1]


@pytest.mark.parametrize('workers', [0, 2])
def test_resuming_at_a_sample(shards, workers):
    whole = read(shards, epoch=1)
    for done in (1, 5, 17):
        rest = read(shards, epoch=1, skip=4 * done, workers=workers)
        assert rest == whole[done:]
    for wrong in (3, 4 * 18, -4):
        with pytest.raises(ValueError, match=f'cannot resume after {wrong} samples'):
            read(shards, skip=wrong)


@pytest.mark.parametrize('workers', [0, 2])
def test_an_infinite_stream(shards, workers):
    epochs = [read(shards, epoch=epoch) for epoch in range(3)]
    whole = list(chain(*epochs))
    for done in (0, 5, 17, 36):
        data = ShardDataset(shards, 4, seed=5, shuffle_buffer=16, infinite=True)
        data.skip(4 * done)
        loader = DataLoader(
            data, batch_size=1, num_workers=workers, collate_fn=lambda i: digest(i[0])
        )
        stream = iter(loader)
        for expected in whole[done : done + 9]:
            assert next(stream) == expected
        del stream


def test_the_stream_goes_on_without_a_warning_a_step(shards):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        data = ShardDataset(shards, 4, infinite=True)
        loader = DataLoader(data, batch_size=1, collate_fn=lambda items: len(items[0]))
        steps = len(loader) + 3
        assert len(list(islice(loader, steps))) == steps


def test_persistent_workers_follow_the_epoch(shards):
    data = ShardDataset(shards, 4, seed=5, shuffle_buffer=16)
    loader = DataLoader(
        data,
        batch_size=1,
        num_workers=2,
        persistent_workers=True,
        collate_fn=lambda item: digest(item[0]),
    )
    assert list(loader) == read(shards)
    data.set_epoch(2)
    assert list(loader) == read(shards, epoch=2)


def test_a_batch_goes_through_the_collate(shards):
    loader = DataLoader(
        ShardDataset(shards, 4, view='objects', image_size=32, max_anns=1),
        batch_size=1,
        collate_fn=AlignmentCollate(),
    )
    batch = next(iter(loader))
    assert len(batch) == 4 and len(set(batch.languages)) == 1
    assert torch.equal(batch.phrase_index, torch.arange(4))


# ------------------------------------------------------------- shards of others
def write_tar(path, members, end=True):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, 'w') as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        size = tar.offset
    if not end:
        os.truncate(path, size)


def pair(number, language='en', folder='', ending='jpg'):
    buffer = io.BytesIO()
    pixels = np.full((16, 16, 3), number, np.uint8)
    Image.fromarray(pixels).save(buffer, 'PNG')
    record = {'short_caption': f'{language} {number}'}
    record |= {'is_cn': 1} if language == 'zh' else {}
    key = f'{folder}{number:03d}'
    return [
        (f'{key}.txt', b'ignored'),
        (f'{key}.{ending}', buffer.getvalue()),
        (f'{key}.json', json.dumps(record).encode()),
    ]


def test_webdataset_shards(tmp_path):
    """No index, folders in names, other members, records without f_path."""
    letters = ['en', 'zh', 'en', 'en', 'zh']
    pairs = [pair(i, name, 'a.b/', 'PNG') for i, name in enumerate(letters)]
    write_tar(tmp_path / 'x.tar', chain(*pairs))
    write_tar(tmp_path / 'y.tar', pair(9)[::-1])
    data = ShardDataset(tmp_path, 2, shuffle=False)
    assert data.num_per_language == {'en': 4, 'zh': 2}
    found = [[s.short for s in batch] for batch in data]
    assert found == [['en 0', 'en 2'], ['en 3', 'en 9'], ['zh 1', 'zh 4']]


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


# ------------------------------------------------------------------------ damage
def test_a_truncated_shard_with_an_index(shards):
    path = shards / 'shard-000002.tar'
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(ValueError, match=r'shard .*shard-000002.tar has .* cut off'):
        ShardDataset(shards, 4)
    data = ShardDataset(shards, 4, bad_records='skip')
    found = [s.short for batch in data for s in batch]
    assert len(found) == len(set(found)) == 65 - data.num_lost
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


def test_a_broken_picture_inside_a_shard(shards):
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


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(batch_size=0), 'batch_size must be 1 or more'),
        (dict(shuffle_buffer=0), 'shuffle_buffer must be 1 or more'),
        (dict(split='rank'), 'split must be one of'),
        (dict(bad_records='drop'), 'bad_records must be one of'),
        (dict(expr='both'), 'expr must be one of'),
    ],
)
def test_wrong_options(shards, options, message):
    with pytest.raises(ValueError, match=message):
        ShardDataset(shards, **{'batch_size': 4} | options)


# ------------------------------------------------------------------ command line
def test_the_tool(write_data, monkeypatch, capfd):
    import runpy
    import sys

    tools = Path(__file__).resolve().parents[3] / 'tools'
    monkeypatch.syspath_prepend(tools)
    folder = write_data('eez')

    def run(*args):
        words = ['convert_to_shards.py', *map(str, args)]
        monkeypatch.setattr(sys, 'argv', words)
        try:
            runpy.run_path(str(tools / words[0]), run_name='__main__')
        except SystemExit as stop:
            return stop.code, *capfd.readouterr()
        return 0, *capfd.readouterr()

    where = ['--images', folder, '--out', folder / 'out']
    code, out, _ = run(folder / 'records.json', *where, '--max-per-shard', 2)
    assert code == 0
    assert '2 shards, 3 samples (2 en, 1 zh)' in out and 'left out: 0' in out
    code, _, err = run(folder / 'nothing.json', *where)
    assert code == 1 and err.startswith('error: there is no record file')
    code, out, _ = run('--help')
    assert code == 0 and 'python tools/convert_to_shards.py' in out
