"""Whole, fitting checkpoints: what MMEngine would find out too late or not at all."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from mmengine.model import is_model_wrapper
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from fgclip2_det.fgclip2.checkpoint import check_finite


def read_checkpoint(path: Path | str) -> dict:
    """A checkpoint on the CPU; ``compat`` keeps MMEngine from unpickling it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is cut short, holds objects that only unpickling
            could load, or is no checkpoint. Both name the newest whole neighbour.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'there is no checkpoint {path}{_hint(path)}')
    try:
        checkpoint = _load(path)
    except ValueError as error:
        raise ValueError(f'{error}{_hint(path)}') from error
    if not isinstance(checkpoint, Mapping):
        raise ValueError(
            f'{path} is no checkpoint: expected a dict, found {type(checkpoint)}'
        )
    if not isinstance(checkpoint.get('state_dict', checkpoint), Mapping):
        raise ValueError(f'{path} is no checkpoint: its state_dict is no dict')
    if not isinstance(checkpoint.get('meta', {}), Mapping):
        raise ValueError(f'{path} is no checkpoint of a training: its meta is no dict')
    return checkpoint


def newest_checkpoint(folder: Path | str) -> Path | None:
    """The newest checkpoint in a folder that can be resumed, None without any."""
    files = [path for path in Path(folder).glob('*.pth') if path.is_file()]
    saved = sorted(files, key=lambda p: p.stat().st_mtime)
    for path in reversed(saved):
        try:
            checkpoint = _load(path)
        except ValueError:
            continue  # the question is which one is readable
        if 'optimizer' in checkpoint:
            return path
    return None


def check_weights(
    model: nn.Module, weights: Mapping[str, Tensor], source: Path | str
) -> None:
    """Refuse weights of another model, which MMEngine loads with a mere warning.

    Args:
        model: built from the config.
        weights: name to tensor; entries that the model lacks are let through.
        source: where they come from, for the message.

    Raises:
        ValueError: naming the first parameter that is absent or shaped otherwise.
    """
    if not all(isinstance(value, Tensor) for value in weights.values()):
        raise ValueError(f'{source} holds no weights; expected name -> tensor')
    check_finite(weights, source)
    wrong = []
    if is_model_wrapper(model):
        model = cast(nn.Module, model.module)
    parameters = {name for name, _ in model.named_parameters()}
    for name, own in model.state_dict().items():
        found = weights.get(name)
        if found is None:
            wrong.append(f'{name} is missing')
        elif name in parameters and own.shape != found.shape:  # names may change
            wrong.append(
                f'{name} is {tuple(found.shape)} there, {tuple(own.shape)} here'
            )
    if wrong:
        raise ValueError(
            f'{source} holds another model than the config ({len(wrong)} parameters '
            f'differ; {wrong[0]}); use the config it was trained with'
        )


def _load(path: Path) -> dict:
    return CheckpointLoader.load_checkpoint(str(path), 'cpu', logger='silent')


def _hint(path: Path) -> str:
    good = newest_checkpoint(path.parent)
    return f'; the newest one that is whole is {good}' if good else ''
