"""Training and evaluation with MMEngine: configs, hooks, metrics, strategies.

Importing it registers every class that a config of this package may name.
"""

from fgclip2_det import models  # noqa: F401
from fgclip2_det.datasets import open_vocab_lvis, transforms  # noqa: F401
from fgclip2_det.datasets.ovshapes import dataset  # noqa: F401

from . import file_backend, hooks, layer_decay, metrics, strategies  # noqa: F401
