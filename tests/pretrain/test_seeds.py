"""Seeds: every one that PyTorch and MMEngine take has numbers for every step."""

import itertools

import numpy as np
import pytest
import torch

from pretrain.data import BilingualSampler
from pretrain.seeds import check_data_seed, step_seed

SEEDS = (
    *(0, 1, 2, 3, 2**22, 2**23 - 1, 2**23, 2**24, 20240601, 2**30, 2**31 - 1, 2**31),
    *(2**31 + 2**24, 2**32 - 1, 2**32, 2**63 + 1, 2**64 - 2, -1, -(2**22), -(2**63)),
)
STEPS = (0, 1, 2, 2_000_000)


def drawn(seed: int, step: int, draw: int) -> tuple[float, ...]:
    generator = torch.Generator().manual_seed(step_seed(seed, step, draw, 2))
    return tuple(torch.rand(4, generator=generator).tolist())


def test_every_seed_step_and_draw_has_its_own_numbers():
    places = list(itertools.product(SEEDS, STEPS, range(2)))
    found = {place: drawn(*place) for place in places}
    assert len(set(found.values())) == len(places)
    assert found == {place: drawn(*place) for place in places}


def test_seed_0_counts_steps_and_draws():
    for step, draw in itertools.product(STEPS, range(2)):
        assert step_seed(0, step, draw, 2) == step * 2 + draw


class Records:
    languages = np.array(['en'] * 4)

    def __len__(self) -> int:
        return len(self.languages)


@pytest.mark.parametrize('seed', [-1, 2**63, 1.5, True, 'x'])
def test_seeds_that_numpy_does_not_take(seed):
    for check in (check_data_seed, lambda seed: BilingualSampler(Records(), seed=seed)):
        with pytest.raises(ValueError, match='seed must be a whole number from 0 to'):
            check(seed)


@pytest.mark.parametrize('seed', [0, 2**32 - 1, 2**63 - 1, np.int64(7)])
def test_seeds_of_data(seed):
    sampler = BilingualSampler(Records(), seed=seed)
    batch = next(iter(sampler.batches(4, False)))
    assert sorted(batch) == [0, 1, 2, 3] and sampler.seed == seed
