"""Seeds of a run, and of the random numbers of its steps."""

from __future__ import annotations

import numpy as np

_OF_DATA = 2**63  # limit where seeds are kept in int64


def step_seed(seed: int, step: int, draw: int = 0, num_draws: int = 1) -> int:
    """Seed of a draw at a step, the same in all processes, for ``torch.Generator``.

    step num_draws + draw for seed 0; for any other, 32 bits that NumPy mixes from the
    four numbers: PyTorch's generator on the CPU reads no more of a seed
    (``findings/torch_seed_32_bits.sh``).

    Args:
        seed: of the run, any that ``torch.Generator.manual_seed`` takes.
        step: 0 or more.
        draw: which of the ``num_draws`` of a step.

    Example:
        >>> step_seed(0, 3, 1, 2), step_seed(1, 3, 1, 2) < 2**32
        (7, True)
    """
    if not seed:
        return step * num_draws + draw
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
