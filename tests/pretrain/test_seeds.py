"""Seeds: every one that PyTorch and MMEngine take has numbers for every step."""

import itertools

import numpy as np
import pytest
import torch

from pretrain.data import BilingualSampler
from pretrain.seeds import check_data_seed, step_seed

SMALL = (0, 1, 2**22, 2**23 - 1, -1, -(2**22))
LARGE = (2**24, 20240601, 2**31 - 1, 2**32 - 1, 2**63 + 1, 2**64 - 2, -(2**63))
STEPS = (0, 1, 2, 2_000_000)


@pytest.mark.parametrize('seed', SMALL)
def test_small_seeds_count_steps_and_draws(seed):
    for step, draw in itertools.product(STEPS, range(2)):
        assert step_seed(seed, step, draw, 2) == (seed * 2**40 + step) * 2 + draw


@pytest.mark.parametrize('seed', [*SMALL, 2**23, *LARGE])
def test_every_step_and_draw_has_its_own_numbers(seed):
    found = set()
    for step, draw in itertools.product(STEPS, range(2)):
        number = step_seed(seed, step, draw, 2)
        generator = torch.Generator().manual_seed(
            number
        )  # it refuses what is too large
        found.add(tuple(torch.rand(4, generator=generator).tolist()))
        assert step_seed(seed, step, draw, 2) == number
    assert len(found) == 2 * len(STEPS)


def test_large_seeds_have_their_own_numbers():
    found = {step_seed(seed, step) for seed, step in itertools.product(LARGE, STEPS)}
    assert len(found) == len(LARGE) * len(STEPS)
    # also those whose lowest bits are alike
    assert step_seed(2**31, 5) != step_seed(2**30, 5) != step_seed(2**31 + 2**24, 5)


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
