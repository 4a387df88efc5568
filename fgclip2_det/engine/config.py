"""Load a config file and merge command line options into it."""

import difflib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from fgclip2_det.io import InputError

from .data_config import ENDINGS, check_data_config
from .first_process import print_once
from .merging import merge_options

HOOKS = (
    'OpenVocabLabelOrderHook',
    'OpenVocabRunRecordHook',
    'OpenVocabReproducibleHook',
    'OpenVocabMetricsJsonHook',
    'OpenVocabVisualizationHook',
    'OpenVocabImageSizeHook',
)


def load_config(
    path: Path | str,
    options: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    work_dir: str | None = None,
    launcher: str = 'none',
) -> Config:
    """Load a config, merge command line options, and add work dir and hooks.

    Several sets of options, those of a run and of the runs that resumed it, are merged
    in order. The hooks are added to ``custom_hooks`` unless the config has them, and a
    plain ``CheckpointHook`` is replaced by the one that writes atomically.

    Raises:
        FileNotFoundError: if there is no such config.
        ValueError: if the config cannot be parsed, or an option names an unknown key.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'there is no config {path}')
    try:
        cfg = read_config(path)
    except SyntaxError as error:
        raise InputError(f'{path} is not a Python config: {error}') from error
    if options is None or isinstance(options, Mapping):
        options = [options or {}]
    for each in options:
        check_options(cfg, each)
        for line in merge_options(cfg, each):
            print_once(line)
    cfg.launcher = launcher
    cfg.work_dir = work_dir or cfg.get('work_dir') or f'work_dirs/{Path(path).stem}'
    cfg.randomness = {'seed': 0, **cfg.get('randomness', {})}

    hooks = list(cfg.get('custom_hooks') or [])
    present = {str(hook['type']).split('.')[-1] for hook in hooks}
    hooks += [{'type': f'mmdet.{name}'} for name in HOOKS if name not in present]
    cfg.custom_hooks = hooks
    checkpoint = cfg.get('default_hooks', {}).get('checkpoint') or {}
    if checkpoint.get('type') == 'CheckpointHook':
        checkpoint['type'] = 'mmdet.OpenVocabCheckpointHook'
    return cfg


def work_dir_of(path: Path | str, work_dir: str | None = None) -> str:
    """Work dir that :func:`load_config` would set."""
    if work_dir is None and Path(path).is_file():
        work_dir = read_config(path).get('work_dir')
    return work_dir or f'work_dirs/{Path(path).stem}'


def read_config(path: Path | str) -> Config:
    """Read and check a config file.

    Raises:
        ValueError: if it cannot be read, or has no model.
    """
    if Path(path).suffix.lower() in ENDINGS:
        check_data_config(Path(path))
    try:
        cfg = Config.fromfile(path)
    except Exception as error:  # a config is code, and may raise anything
        raise InputError(
            f'{path} cannot be read as a config ({type(error).__name__}: {error})'
        ) from error
    if 'model' not in cfg:
        raise InputError(
            f'{path} has no model; give the config of a detector or of an alignment'
        )
    hooks = cfg.get('custom_hooks') or []
    if not isinstance(hooks, list) or not all(isinstance(h, Mapping) for h in hooks):
        raise InputError(f'{path}: custom_hooks must be a list of dicts, got {hooks!r}')
    if not all('type' in hook for hook in hooks):
        raise InputError(
            f'{path}: each of custom_hooks needs a type, got {hooks!r:.200}'
        )
    return cfg


def check_options(cfg: Config, options: Mapping[str, Any]) -> None:
    """Reject misspelt ``--cfg-options``, which MMEngine would add as new keys.

    A new key is allowed inside an existing dict, unless it resembles a key of it.

    Raises:
        ValueError: naming the unknown key and the closest known one.
    """
    runner = set(inspect.signature(Runner.__init__).parameters)
    for option in options:
        part: Any = cfg
        for depth, key in enumerate(option.split('.')):
            if not isinstance(part, Mapping | Config) or key in part:
                known = isinstance(part, Mapping | Config)
                part = part[key] if known else _item(part, key)
                continue
            known = set(part) | (runner if depth == 0 else set())
            close = difflib.get_close_matches(key, known, 1, 0.6 if depth == 0 else 0.8)
            if key not in known and (depth == 0 or close):
                hint = f'; did you mean {close[0]!r}?' if close else ''
                raise InputError(
                    f'--cfg-options {option}: the config has no {key!r}{hint}'
                )
            break


def _item(part: Any, key: str) -> Any:
    """Element of a list whose index is the key; None if it is no such list."""
    fits = isinstance(part, list) and key.isdigit() and int(key) < len(part)
    return part[int(key)] if fits else None
