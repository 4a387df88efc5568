"""Restores ``np.float`` for lvis 0.5.3, the latest on PyPI; NumPy 1.24 removed it."""

import importlib
import importlib.util
from typing import Any

import numpy


class _Numpy:
    """``numpy`` with the alias that ``lvis.eval`` uses."""

    float = float

    def __getattr__(self, name: str) -> Any:
        return getattr(numpy, name)


def install() -> None:
    """Make MMDetection's LVIS metrics run, if lvis is installed."""
    if importlib.util.find_spec('lvis') and not hasattr(numpy, 'float'):
        vars(importlib.import_module('lvis.eval'))['np'] = _Numpy()
