"""Shards are found, read back exactly and shared without loss."""

import warnings
from itertools import chain, islice

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det.engine.resume import compare_data
from fgclip2_det.engine.train_data import describe_data
from pretrain.data import AlignmentCollate, ShardDataset
from pretrain.data.shard_plan import ShardPlan
from pretrain.data.shard_table import find_shards
from tests.pretrain.data.shard_files import (
    LETTERS,
    digest,
    read,
    shorts,
)


def plan_of(codes, *options) -> ShardPlan:
    """A plan of shards with samples of these languages."""
    table = np.array([np.bincount(each, minlength=2) for each in codes])
    return ShardPlan(table, codes.__getitem__, *options)


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
        find_shards(shards.parent / 'images')
    paths[2].unlink()
    with pytest.raises(ValueError, match=r'shard-000002.tar, but index.json names it'):
        find_shards(shards)


def test_samples_are_those_of_the_records(shards):
    """Same choices as from the files, given the same generator."""
    batches = read(shards, shuffle=False)
    assert [len(b) for b in batches] == [4] * 10 + [3, 2] + [4] * 5
    numbers = [i for i, letter in enumerate(LETTERS) if letter == 'e']
    assert shorts(batches)[:45] == [f'text of cat {i}' for i in numbers]
    images = shards.parent / 'images'
    for sample in chain(*batches):
        number = ''.join(filter(str.isdigit, sample[1]))
        with Image.open(images / f'{number}.jpg') as image:
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
    plan = plan_of([np.zeros(100, np.uint8)] * 10, 10, 0, 1, 16)
    samples = np.concatenate(
        [[language[i] for i in places] for language, places in plan.batches(0, 0, 0, 1)]
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
        actual = sorted(chain(*(shorts(part) for part in parts)))
        assert actual == sorted(shorts(read(shards)))
        for batches in zip(*parts, strict=True):
            assert all(1 <= len(batch) <= 4 for batch in batches)
            assert len({s[0] for batch in batches for s in batch}) == 1
        if split == 'sample':
            joined = [list(chain(*batches)) for batches in zip(*parts, strict=True)]
            assert joined == read(shards, batch_size=4 * world_size, epoch=epoch)


@pytest.mark.parametrize('split', ['shard', 'sample', 'auto'])
@pytest.mark.parametrize(('before', 'after'), [(1, 2), (2, 1), (2, 3), (3, 3)])
def test_resuming_with_other_processes_is_exact_or_refused(
    shards, split, before, after
):
    """Twelve samples a step, whoever reads them."""
    joined, described = [], []
    for count in (before, after):
        options = dict(split=split, world_size=count, batch_size=12 // count)
        parts = [read(shards, rank=rank, **options) for rank in range(count)]
        joined.append([list(chain(*batches)) for batches in zip(*parts, strict=True)])
        dataset = ShardDataset(shards, rank=0, **options)
        described.append(describe_data(DataLoader(dataset, batch_size=1)))
    difference = compare_data(described[1], described[0])
    assert (difference is None) == (joined[0] == joined[1])
    if difference:
        assert 'which orders samples differently (take as many' in difference
    old = {k: v for k, v in described[0].items() if k != 'num_shares'}
    assert compare_data(described[1], old) is None  # of an earlier version


def test_the_split_follows_the_shards():
    """By shard only if the smallest share is 0.9 of the largest."""
    even, mixed = [np.zeros(100, np.uint8)] * 8, np.arange(100, dtype=np.uint8) % 2
    assert plan_of(even, 10, 0, 4, 0).by_shard
    assert not plan_of(even, 10, 0, 3, 0).by_shard  # 3, 3 and 2 shards
    assert plan_of(even, 10, 0, 3, 0, 'shard').by_shard
    assert not plan_of(even, 10, 0, 1, 0).by_shard
    assert plan_of([mixed] * 8, 10, 0, 4, 0).by_shard
    lopsided = [*even, np.ones(100, np.uint8)]  # one Chinese shard for two
    assert not plan_of(lopsided, 10, 0, 2, 0).by_shard
    with pytest.raises(ValueError, match="use split='auto', or write smaller"):
        plan_of(lopsided, 10, 0, 2, 0, 'shard')
    with pytest.raises(ValueError, match='1 records of a language cannot be shared'):
        plan_of([np.array([0, 0, 0, 1], np.uint8)], 10, 0, 2, 0)


def test_shares_of_shards_go_round():
    plans = [plan_of([np.zeros(20, np.uint8)] * 4, 5, r, 2, 8) for r in range(2)]
    seen = []
    for epoch in range(2):
        shares = [
            {
                language[place] // 20
                for language, _ in p.batches(0, epoch, 0, 1)
                for place in range(len(language))
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
