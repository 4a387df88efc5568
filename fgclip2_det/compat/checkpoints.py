"""Loading of MMEngine checkpoints without unpickling arbitrary objects.

A checkpoint of a training run holds log histories and NumPy scalars besides tensors.
These types are allowed by name; any other object is rejected, and nothing falls back
to ``weights_only=False``.
"""

import contextlib
import functools
import pickle
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import IO, Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import checkpoint
from torch import _utils

from fgclip2_det.io import InputError

NUMPY_DTYPES = '?bBhHiIlLqQefdFD'  # bool, integers, floats, complex numbers


def install() -> None:
    """Make MMEngine's loaders use ``load``, in onedl-mmengine and in mmengine."""
    version: Any = torch.__version__
    if version >= (2, 6):  # the first that accepts (object, name) pairs
        torch.serialization.add_safe_globals(_safe_globals())
    if isinstance(checkpoint.torch, _Torch):
        return
    checkpoint.torch = _Torch()
    checkpoint._safe_torch_load = load  # called by onedl-mmengine
    checkpoint.load_url = functools.partial(_load_url, checkpoint.load_url)


def load(file: str | IO, map_location: Any = None, **kwargs: Any) -> Any:
    """``torch.load`` with ``weights_only=True``, whatever the caller requests.

    Args:
        file: path or open file.
        map_location: as in ``torch.load``.
        **kwargs: ignored.

    Raises:
        ValueError: if the file holds a type that is not allowed (none of its code
            is executed), is truncated or is not a checkpoint.
    """
    name = file if isinstance(file, str) else getattr(file, 'name', 'the checkpoint')
    with _clear_errors(name), _no_trace():
        return torch.load(file, map_location=map_location, weights_only=True)


def _load_url(load_url: Callable, url: str, *args: Any, **kwargs: Any) -> Any:
    """``torch.hub.load_state_dict_from_url``, which unpickles by default."""
    with _clear_errors(url):
        return load_url(url, *args, **{**kwargs, 'weights_only': True})


@contextlib.contextmanager
def _clear_errors(name: Any) -> Iterator[None]:
    try:
        yield
    except pickle.UnpicklingError as error:
        refused = re.search(r'(?:GLOBAL|class|function) ([\w.]+)', str(error))
        if refused is None:
            raise InputError(_unreadable(name, error)) from error
        raise InputError(
            f'{name} holds {refused[1]}, which is not loaded because it could run '
            f'code; if you trust its author, load it once with torch.load('
            f"weights_only=False) and save only its 'state_dict'"
        ) from error
    except (OSError, RuntimeError) as error:
        if 'deserialize' in str(error) and 'device' in str(error):  # map_location
            raise
        if isinstance(error, FileNotFoundError):
            raise
        raise InputError(_unreadable(name, error)) from error
    except (
        ArithmeticError, AssertionError, AttributeError, EOFError, ImportError,
        LookupError, MemoryError, SyntaxError, TypeError, ValueError,
    ) as error:  # fmt: skip
        raise InputError(_unreadable(name, error)) from error


@contextlib.contextmanager
def _no_trace() -> Iterator[None]:
    """Leave PyTorch as it was, also when a load fails.

    ``torch.load`` keeps ``map_location`` and sparse tensors to validate in variables of
    its own, and forgets them only when the file was read to its end.
    """
    state = getattr(torch.serialization, '_serialization_tls', None)
    pending = getattr(_utils, '_sparse_tensors_to_validate', [])
    before = dict(vars(state)) if state is not None else {}
    try:
        yield
    finally:
        pending.clear()
        if state is not None:
            vars(state).clear()
            vars(state).update(before)


class _Torch:
    """``torch`` as ``mmengine.runner.checkpoint`` sees it, with ``load`` replaced."""

    load = staticmethod(load)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def _safe_globals() -> list:
    """Types that a Runner's checkpoint may hold besides tensors and containers."""
    core = '_core' if hasattr(np, '_core') else 'core'
    multiarray = import_module(f'numpy.{core}.multiarray')
    allowed = [HistoryBuffer, np.ndarray, np.dtype, slice]
    allowed += [type(np.dtype(code)) for code in NUMPY_DTYPES]
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        allowed.append((multiarray._reconstruct, f'{module}._reconstruct'))
        allowed.append((multiarray.scalar, f'{module}.scalar'))
    # HistoryBuffer pickles its methods as getattr(HistoryBuffer, 'min')
    return [*allowed, (_history_method, 'builtins.getattr')]


def _history_method(owner: Any, name: str) -> Any:
    """``getattr``, restricted to the public methods of HistoryBuffer."""
    if owner is not HistoryBuffer or name.startswith('_'):
        raise pickle.UnpicklingError('Unsupported function builtins.getattr')
    return getattr(HistoryBuffer, name)


def _unreadable(name: Any, error: Exception) -> str:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return (
        f'{name} is not a readable checkpoint ({reason}); it may be truncated: '
        f'copy or download it again'
    )
