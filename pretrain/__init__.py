"""Two-stage alignment training of FG-CLIP 2: data, losses, model, evaluation.

Configs in ``configs/pretrain/`` name it in ``custom_imports`` and are started by
``tools/train.py``; results are evaluated by ``python -m pretrain.evaluate`` and
``tools/benchmark.py``, which need no mm package.
"""

from fgclip2_det import HAS_MM

__all__ = []

if HAS_MM:
    from pretrain import averaging, data, hooks, model, optim
    from pretrain.data import ovshapes, sampler

    __all__ += ['averaging', 'data', 'hooks', 'model', 'optim', 'ovshapes', 'sampler']
