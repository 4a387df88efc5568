"""Training and evaluation with MMEngine: configs, hooks, metrics, strategies.

Importing it registers every class that a config of this package may name.
"""

from fgclip2_det import models
from fgclip2_det.datasets import open_vocab_lvis, transforms
from fgclip2_det.datasets.ovshapes import dataset

from . import file_backend, hooks, layer_decay, metrics, strategies

__all__ = [
    'dataset',
    'file_backend',
    'hooks',
    'layer_decay',
    'metrics',
    'models',
    'open_vocab_lvis',
    'strategies',
    'transforms',
]
