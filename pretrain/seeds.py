"""Seeds of a run, and of the random numbers of its steps."""

from __future__ import annotations

import numpy as np

_OF_TORCH = range(-(2**63), 2**64)  # what torch.Generator.manual_seed takes
_OF_DATA = 2**63  # limit where seeds are kept in int64


def step_seed(seed: int, step: int, draw: int = 0, num_draws: int = 1) -> int:
    """Seed of a draw at a step, the same in all processes, for ``torch.Generator``.

    (2^40 seed + step) num_draws + draw where that is a seed for PyTorch; otherwise,
    from a seed of 2^23 or 2^24 on, 32 bits that NumPy mixes from the four numbers.

    PyTorch's generator on the CPU reads the lowest 32 bits of a seed. The draws of
    smaller seeds hence are those of seed 0, whereas each larger seed has its own.

    Args:
        seed: of the run, any that ``torch.Generator.manual_seed`` takes.
        step: 0 or more.
        draw: which of the ``num_draws`` of a step.

    Example:
        >>> step_seed(0, 3, 1, 2), step_seed(20240601, 3, 1, 2) < 2**32
        (7, True)
    """
    number = ((seed << 40) + step) * num_draws + draw
    if number in _OF_TORCH:
        return number
    entropy = seed % 2**64, step, draw, num_draws  # -1 is 2^64 - 1, as in PyTorch
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def check_data_seed(seed: int) -> int:
    """A data set's or sampler's seed as it is; ValueError unless NumPy takes it."""
    whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if not (whole and 0 <= seed < _OF_DATA):
        raise ValueError(
            f'seed must be a whole number from 0 to {_OF_DATA - 1}, or None, got '
            f'{seed!r:.80}'
        )
    return int(seed)
