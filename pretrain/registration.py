"""Every class of the alignment joins MMEngine's registries; configs import it."""

from pretrain import averaging, data, hooks, model, optim
from pretrain.data import ovshapes, sampler

__all__ = ['averaging', 'data', 'hooks', 'model', 'optim', 'ovshapes', 'sampler']
