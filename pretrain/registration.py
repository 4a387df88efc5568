"""Registers the classes of the alignment training; configs import this module."""

from pretrain import averaging, data, hooks, model, optim
from pretrain.data import ovshapes, sampler

__all__ = ['averaging', 'data', 'hooks', 'model', 'optim', 'ovshapes', 'sampler']
