"""Order of samples over shards, place by place, without a list of them."""

import tracemalloc
from itertools import islice

import numpy as np
import pytest

from pretrain.data.shard_order import LanguageOrder, ShardLanguages
from pretrain.data.shard_plan import ShardPlan


def order_of(codes, shards, window, language=0, seed=(0,)) -> LanguageOrder:
    table = np.array([np.bincount(each, minlength=2) for each in codes])
    firsts = np.cumsum([0, *map(len, codes)])
    languages = ShardLanguages(codes.__getitem__, table)
    return LanguageOrder(np.array(shards), languages, firsts, window, seed, language)


@pytest.mark.parametrize('window', [0, 1, 2, 3, 7, 10, 1000])
@pytest.mark.parametrize('language', [0, 1])
def test_every_sample_once_and_near_its_place(window, language):
    rng = np.random.default_rng(window)
    codes = [(rng.random(n) < 0.4).astype(np.uint8) for n in (13, 1, 40, 22, 5)]
    shards = [3, 0, 4, 2]  # in this order, and not the second one
    firsts = np.cumsum([0, *map(len, codes)])
    expected = np.concatenate(
        [firsts[s] + np.flatnonzero(codes[s] == language) for s in shards]
    ).tolist()
    order = order_of(codes, shards, window, language)
    actual = [order[place] for place in range(len(order))]
    assert sorted(actual) == sorted(expected)
    moved = [abs(expected.index(item) - place) for place, item in enumerate(actual)]
    assert max(moved) < max(window, 1)
    if window > 6:
        assert actual != expected and np.mean(moved) > min(window, len(order)) / 8
    again = order_of(codes, shards, window, language)
    assert [again[place] for place in range(5)] == actual[:5]
    if window > 6:
        other = order_of(codes, shards, window, language, seed=(1,))
        assert [other[place] for place in range(len(other))] != actual


def test_samples_pass_from_block_to_block():
    """A window moves: no border of blocks holds samples apart."""
    order = order_of([np.zeros(400, np.uint8)], [0], 40)
    items = np.array([order[place] for place in range(400)])
    for border in range(10, 400, 10):
        assert (items[:border] >= border).any(), border


def test_memory_of_a_thousand_million_samples():
    """In 100,000 shards: at most 0.05 bytes a sample in a process, and in an epoch's
    order, which begins anywhere."""
    table = np.full((100_000, 2), 5_000)
    asked = []

    def codes_of(shard: int) -> np.ndarray:
        asked.append(shard)
        return np.random.default_rng(shard).permutation(10_000) % 2

    tracemalloc.start()
    try:
        plan = ShardPlan(table, codes_of, 32, 1, 8, 10_000, 'sample')
        assert plan.num_batches == 3_906_250
        batches = plan.batches(0, 3, 3_900_000, 4)
        items = {order[i] for order, places in islice(batches, 20) for i in places}
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(items) == 20 * 32 and max(items) < 10**9
    assert len(set(asked)) < 12 and peak < 0.05 * 10**9
