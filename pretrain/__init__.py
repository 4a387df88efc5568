"""Two-stage alignment training of FG-CLIP 2: data, losses, model, evaluation.

Configs in ``configs/pretrain/`` name it in ``custom_imports`` and are started by
``tools/train.py``; results are evaluated by ``python -m pretrain.evaluate``.
"""

from pretrain import averaging, data, hooks, model, optim
from pretrain.data import ovshapes, sampler

__all__ = ['averaging', 'data', 'hooks', 'model', 'optim', 'ovshapes', 'sampler']
