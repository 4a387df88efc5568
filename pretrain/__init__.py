"""Two-stage alignment training of FG-CLIP 2: data, losses, model.

Configs in ``configs/pretrain/`` name ``pretrain.registration`` in ``custom_imports``
and are started by ``tools/train.py``; an encoder is measured by ``python -m
pretrain.evaluate`` and ``tools/benchmark.py``.
"""

from fgclip2_det.lazy import in_mmengine

if in_mmengine():  # of a config that names ``pretrain`` alone
    from pretrain import registration
