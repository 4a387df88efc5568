"""Shards are written in full or not at all, and a killed run goes on."""

import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from pretrain.data import ShardDataset, read_records, shard_writer, write_shards


def test_what_is_written(write_data):
    folder = write_data('eezee')
    out = folder / 'out'
    reported = []
    index = write_shards(
        folder / 'records.json', folder, out, max_per_shard=2, progress=reported.append
    )
    assert reported == [1, 2, 3, 4, 5] and index['complete']
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
        original = (folder / 'images' / '2.jpg').read_bytes()
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
    reported = []
    write_shards(*arguments, folder / 'out', max_per_shard=5, progress=reported.append)
    assert (
        reported[0] > 5 and reported[-1] == 12
    )  # the first shard was not written again
    for path in (folder / 'whole').iterdir():
        assert path.read_bytes() == (folder / 'out' / path.name).read_bytes()
    assert len(list((folder / 'out').glob('*.tar'))) == 3
    again = []
    write_shards(*arguments, folder / 'out', max_per_shard=5, progress=again.append)
    assert again == []


def test_bad_records_while_writing(write_data, tmp_path):
    folder = write_data('eeee')
    (folder / 'images' / '1.jpg').unlink()
    (folder / 'images' / '2.jpg').write_bytes(b'no image')
    whole = (folder / 'images' / '3.jpg').read_bytes()
    (folder / 'images' / '3.jpg').write_bytes(whole[:-20])  # has a header
    records = folder / 'records.json'
    with pytest.raises(ValueError, match=r'record 1: image .*1.jpg cannot be read'):
        write_shards(records, folder, tmp_path / 'a')
    assert os.listdir(tmp_path / 'a') == ['index.json']
    index = write_shards(records, folder, tmp_path / 'b', bad_records='skip')
    assert (index['samples'], index['num_bad']) == (2, 2)
    options = dict(bad_records='skip', decode=True)
    index = write_shards(records, folder, tmp_path / 'c', **options)
    assert (index['samples'], index['num_bad']) == (1, 3)
    (folder / 'images' / '0.jpg').unlink()
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
    assert code == 2 and err.startswith('error: there is no record file')
    code, out, _ = run('--help')
    assert code == 0 and 'python tools/convert_to_shards.py' in out
