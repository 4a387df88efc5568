"""Seeding of data set items, independent of the process that loads them."""

import random

import numpy as np
import torch


class SeededIndex(int):
    """Index into a data set, with the seed of this draw."""

    draw: tuple[int, ...] = ()


def seed_everything(*entropy: int) -> None:
    """Seed Python, NumPy and PyTorch of this process from several integers >= 0."""
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
