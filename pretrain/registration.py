"""Registers the classes of the alignment training; configs import this module."""

from pretrain import averaging, data, hooks, model, optim, schedules
from pretrain.data import ovshapes, sampler
from pretrain.r2d2 import alignment, region_ranker

__all__ = [
    'alignment',
    'averaging',
    'data',
    'hooks',
    'model',
    'optim',
    'ovshapes',
    'region_ranker',
    'sampler',
    'schedules',
]
