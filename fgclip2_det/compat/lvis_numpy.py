"""lvis 0.5.3, the newest on PyPI, asks for ``np.float``, which NumPy 1.24 removed."""

import importlib
import importlib.util
from typing import Any

import numpy


class _Numpy:
    """``numpy`` as ``lvis.eval`` knows it."""

    float = float

    def __getattr__(self, name: str) -> Any:
        return getattr(numpy, name)


def install() -> None:
    """Lets MMDetection's LVIS metrics run, where lvis is installed."""
    if importlib.util.find_spec('lvis') and not hasattr(numpy, 'float'):
        vars(importlib.import_module('lvis.eval'))['np'] = _Numpy()
