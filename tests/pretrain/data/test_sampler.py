"""One language per global batch, each record once, any number of processes."""

from itertools import chain, pairwise

import numpy as np
import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmengine.dataset import DefaultSampler
from torch.utils.data import DataLoader, Dataset

from fgclip2_det.engine.hooks.reproducible_hook import _count_draws
from pretrain.data import BilingualBatchSampler, BilingualSampler
from pretrain.data.batches import BatchPlaces, batch_sizes, mixed_order, share


class Records(Dataset):
    """An item is its index, how it was drawn, and a number of the generator."""

    def __init__(self, num_en, num_zh):
        letters = ['en'] * num_en + ['zh'] * num_zh
        self.languages = np.random.default_rng(0).permutation(letters)

    def __len__(self):
        return len(self.languages)

    def __getitem__(self, index):
        return int(index), getattr(index, 'draw', None), np.random.rand()


def epochs(data, batch_size, num=1, world_size=1, rank=0, drop_last=False, **kwargs):
    sampler = BilingualSampler(
        data, seed=kwargs.pop('seed', 0), rank=rank, world_size=world_size, **kwargs
    )
    batches = BilingualBatchSampler(sampler, batch_size, drop_last)
    out = []
    for epoch in range(num):
        sampler.set_epoch(epoch)
        out.append(list(batches))
        assert len(out[-1]) == len(batches)
    return out


def language_of(data, batch):
    (language,) = set(data.languages[batch])
    return language


def test_sizes_by_hand():
    """Full batches of 8: 20 = 8 + 8 + 4; 17 = 8 + (9 as 5 + 4)."""
    assert batch_sizes(16, 4, 2) == [8, 8]
    assert batch_sizes(20, 4, 2) == [8, 8, 4]
    assert batch_sizes(17, 4, 2) == [8, 5, 4]
    assert batch_sizes(3, 4, 2) == [3]
    assert batch_sizes(0, 4, 2) == []
    assert batch_sizes(17, 4, 2, drop_last=True) == [8, 8]
    assert batch_sizes(7, 1, 3) == [3, 4]  # halves of 4 would leave one with nothing
    with pytest.raises(ValueError, match=r'1 records .* cannot be shared by 2'):
        batch_sizes(1, 4, 2)


@pytest.mark.parametrize('batch_size', [1, 2, 3, 8])
@pytest.mark.parametrize('world_size', [1, 2, 3, 4])
def test_sizes_keep_their_promises(batch_size, world_size):
    for n in range(world_size, 120):
        sizes = batch_sizes(n, batch_size, world_size)
        full = batch_size * world_size
        assert sum(sizes) == n and min(sizes) >= world_size
        assert max(sizes) <= full or batch_size == 1
        assert len(sizes) == 1 or 2 * min(sizes) >= full
        if batch_size > 1:  # the same batches in one process
            assert batch_sizes(n, full, 1) == sizes
        places = BatchPlaces(n, batch_size, world_size)
        assert [len(places[batch]) for batch in range(len(places))] == sizes
        assert [i for batch in range(len(places)) for i in places[batch]] == [*range(n)]
        for size in sizes:
            parts = [share(size, rank, world_size) for rank in range(world_size)]
            lengths = [part.stop - part.start for part in parts]
            assert sum(lengths) == size and max(lengths) - min(lengths) <= 1


def test_languages_are_mixed_and_batches_keep_their_order():
    order = list(mixed_order([20, 10], np.random.default_rng(0)))
    assert [n for language, n in order if language == 0] == list(range(20))
    assert sum(a[0] != b[0] for a, b in pairwise(order)) > 5
    assert list(mixed_order([2, 1], None)) == [(0, 0), (0, 1), (1, 0)]
    for start, step in ((0, 3), (4, 1), (7, 5), (29, 2), (30, 1)):
        part = mixed_order([20, 10], np.random.default_rng(0), start, step)
        assert list(part) == order[start::step]


def test_every_record_once_and_one_language_per_batch():
    data = Records(41, 22)
    first, second = epochs(data, 8, 2)
    for epoch in (first, second):
        assert sorted(chain(*epoch)) == list(range(63))
        languages = [language_of(data, batch) for batch in epoch]
        assert set(languages) == {'en', 'zh'} and languages != sorted(languages)
    assert first != second
    assert [sorted(b) for b in first] != [sorted(b) for b in second]
    assert epochs(data, 8, 2) == [first, second]
    assert epochs(data, 8, seed=1)[0] != first


@pytest.mark.parametrize('counts', [(41, 22), (40, 16), (33, 0), (9, 3)])
def test_two_processes_share_the_batches_of_one(counts):
    data = Records(*counts)
    one = epochs(data, 6, 2)
    for world_size in (2, 3):
        parts = [
            epochs(data, 6 // world_size, 2, world_size, rank)
            for rank in range(world_size)
        ]
        for epoch in range(2):
            joined = [
                list(chain(*b)) for b in zip(*(p[epoch] for p in parts), strict=True)
            ]
            assert joined == one[epoch]
            assert all(len(b) >= 1 for part in parts for b in part[epoch])
            draws = [[i.draw for i in batch] for batch in one[epoch]]
            assert [[i.draw for i in batch] for batch in joined] == draws


def test_without_shuffling():
    data = Records(5, 3)
    en, zh = (np.flatnonzero(data.languages == name) for name in ('en', 'zh'))
    (epoch,) = epochs(data, 3, shuffle=False)
    assert epoch == [en[:3].tolist(), en[3:].tolist(), zh.tolist()]


def test_dropping_is_counted(capsys):
    data = Records(11, 9)
    sampler = BilingualSampler(data, seed=0)
    batches = BilingualBatchSampler(sampler, 4, drop_last=True)
    assert batches.num_dropped == 4 and len(list(batches)) == len(batches) == 4
    assert BilingualBatchSampler(sampler, 4).num_dropped == 0


def test_draws_depend_on_seed_epoch_and_record_alone():
    (epoch,) = epochs(Records(9, 5), 4, seed=3)
    for batch in epoch:
        assert all(index.draw[:3] == (3, 0, int(index)) for index in batch)


@pytest.mark.parametrize('infinite', [False, True])
def test_resuming_behind_some_batches(infinite):
    data = Records(41, 22)
    sampler = BilingualSampler(data, seed=0, infinite=infinite)
    batches = BilingualBatchSampler(sampler, 8)
    per_epoch = len(batches)
    stream = iter(batches)
    whole = [next(stream) for _ in range(per_epoch * (3 if infinite else 1))]
    for done in (0, 3, per_epoch, 2 * per_epoch + 1) if infinite else (0, 3, per_epoch):
        fresh = BilingualSampler(data, seed=0, infinite=infinite)
        fresh.skip(8 * done)
        fresh.set_epoch(0)  # a loop says so again
        stream = iter(BilingualBatchSampler(fresh, 8))
        rest = [b for b, _ in zip(stream, whole[done:], strict=False)]
        assert rest == whole[done:]
        assert [[i.draw for i in b] for b in rest] == [
            [i.draw for i in b] for b in whole[done:]
        ]
    if not infinite:
        sampler.skip(8)
        sampler.set_epoch(1)
        assert len(list(batches)) == per_epoch  # a skip is of one epoch


def test_wrong_positions():
    sampler = BilingualSampler(Records(9, 5), seed=0)
    batches = BilingualBatchSampler(sampler, 4)
    for done in (3, 4 * (len(batches) + 1)):
        sampler.skip(done)
        with pytest.raises(ValueError, match=f'cannot resume after {done} samples'):
            next(iter(batches))
    with pytest.raises(ValueError, match='0 or more, got -1'):
        sampler.skip(-1)


def test_the_reproducible_hook_can_wrap_it():
    """Its counter passes epochs and skips on, and items are seeded by their draws."""
    data = Records(13, 9)
    loader = DataLoader(
        data,
        batch_sampler=BilingualBatchSampler(BilingualSampler(data, seed=2), 4),
        collate_fn=list,
    )
    expected = epochs(data, 4, 2, seed=2)
    counter = _count_draws(loader, 7, 1)
    items = []
    for epoch in (1, 0):
        counter.set_epoch(epoch)
        batches = list(loader)
        assert [[item[0] for item in b] for b in batches] == expected[epoch]
        items.append({item[0]: item[2] for batch in batches for item in batch})
    assert items[0] != items[1]
    numbers = {item[0]: item[2] for batch in loader for item in batch}
    assert numbers == items[1]  # again epoch 0
    counter.skip(8)
    assert [[item[0] for item in b] for b in loader] == expected[0][2:]


def test_wrong_use():
    with pytest.raises(ValueError, match='list has no languages'):
        BilingualSampler([1, 2], seed=0)
    data = Records(4, 2)
    data.languages[0] = 'fr'
    with pytest.raises(ValueError, match="6 records, but 5 languages that are 'en'"):
        BilingualSampler(data, seed=0)
    data = Records(4, 2)
    sampler = BilingualSampler(data, seed=0)
    with pytest.raises(ValueError, match='add batch_sampler=dict'):
        iter(sampler)
    with pytest.raises(ValueError, match=r'needs sampler=dict.* got DefaultSampler'):
        BilingualBatchSampler(DefaultSampler(data, seed=0), 2)
    with pytest.raises(ValueError, match='batch_size must be 1 or more'):
        BilingualBatchSampler(sampler, 0)
    with pytest.raises(ValueError, match='fill no batch of 8'):
        BilingualBatchSampler(sampler, 8, drop_last=True)
    few = BilingualSampler(data, seed=0, rank=0, world_size=3)
    with pytest.raises(ValueError, match='2 records of a language cannot be shared'):
        BilingualBatchSampler(few, 2)
