"""Reading of checkpoints, with checks that MMEngine lacks or makes too late."""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

from mmengine.model import is_model_wrapper
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from fgclip2_det.fgclip2.checkpoint import (
    FLOATS,
    check_finite_weights,
    check_plain_floats,
)
from fgclip2_det.io import InputError
from fgclip2_det.io.text import kind_of


def read_checkpoint(path: str | os.PathLike) -> dict:
    """Load a checkpoint on the CPU; ``compat`` keeps MMEngine from unpickling it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is truncated, holds objects that only unpickling could
            load, or is not a checkpoint. Both messages name the newest complete
            checkpoint of the folder.
    """
    path = Path(path)
    if not path.is_file():
        kind = kind_of(path.stat().st_mode) if path.exists() else None
        if kind in ('a pipe', 'a socket', 'a device'):
            raise InputError(f'{path} is {kind}, expected a checkpoint file')
        raise FileNotFoundError(f'there is no checkpoint {path}{_hint(path)}')
    try:
        checkpoint = _load(path)
    except ValueError as error:
        raise InputError(f'{error}{_hint(path)}') from error
    if not isinstance(checkpoint, Mapping):
        raise InputError(
            f'{path} is not a checkpoint: expected a dict, got {type(checkpoint)}'
        )
    if not isinstance(checkpoint.get('state_dict', checkpoint), Mapping):
        raise InputError(f'{path} is not a checkpoint: its state_dict is not a dict')
    if not isinstance(checkpoint.get('meta', {}), Mapping):
        raise InputError(f'{path} is not a training checkpoint: its meta is not a dict')
    return checkpoint


def newest_checkpoint(folder: Path | str) -> Path | None:
    """The newest checkpoint in a folder that can be resumed; None if there is none."""
    return newest_of(Path(folder).glob('*.pth'))


def newest_of(paths: Iterable[Path]) -> Path | None:
    """The newest of several checkpoints that can be resumed; None if none can."""
    for path in reversed(sort_by_age(path for path in paths if path.is_file())):
        try:
            checkpoint = _load(path)
        except ValueError:
            continue  # the next older one may be readable
        if 'optimizer' in checkpoint:
            return path
    return None


def sort_by_age(paths: Iterable[Path]) -> list[Path]:
    """Sort checkpoints by time, then the step in their name, then the name; the newest
    comes last, and all processes get the same order.
    """

    def age(path: Path) -> tuple[int, int, str, str]:
        steps = re.findall(r'\d+', re.sub(r'-[0-9a-f]{8}$', '', path.stem))
        step = int(steps[-1][-18:]) if steps else -1
        return path.stat().st_mtime_ns, step, path.name, str(path)

    return sorted(paths, key=age)


def check_weights(
    model: nn.Module, weights: Mapping[str, Tensor], source: str | os.PathLike
) -> None:
    """Check that weights fit a model; MMEngine only logs a warning if they do not.

    Args:
        model: model built from the config.
        weights: name -> tensor; entries that the model lacks are ignored.
        source: name of their source, for the message.

    Raises:
        ValueError: naming the first parameter that is missing or of another shape.
    """
    if not all(isinstance(value, Tensor) for value in weights.values()):
        raise InputError(f'{source} holds no weights; expected name -> tensor')
    strange = next((name for name in weights if not isinstance(name, str)), None)
    if strange is not None:
        raise InputError(f'{source} holds a weight named {strange!r}; expected a text')
    wrong = []
    if is_model_wrapper(model):
        model = cast(nn.Module, model.module)
    parameters = {name for name, _ in model.named_parameters()}
    own_state = model.state_dict()
    floats = {
        n: w for n, w in weights.items() if n in own_state and _is_float(own_state[n])
    }
    check_plain_floats(floats, source)
    check_finite_weights(weights, source)
    for name, own in own_state.items():
        loaded = weights.get(name)
        if loaded is None:
            wrong.append(f'{name} is missing')
        elif name in parameters and own.shape != loaded.shape:  # names may change
            wrong.append(
                f'{name} is {tuple(loaded.shape)} there, {tuple(own.shape)} here'
            )
    if wrong:
        raise InputError(
            f'{source} does not fit the model of the config ({len(wrong)} parameters '
            f'differ; {wrong[0]}); use the config it was trained with'
        )


def _is_float(tensor: Tensor) -> bool:
    return tensor.dtype in FLOATS


def _load(path: Path) -> dict:
    return CheckpointLoader.load_checkpoint(str(path), 'cpu', logger='silent')


def _hint(path: Path) -> str:
    good = newest_checkpoint(path.parent)
    return f'; the newest complete one is {good}' if good else ''
