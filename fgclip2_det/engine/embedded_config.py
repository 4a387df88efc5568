"""Read the config stored in a checkpoint that need not be trusted."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmcv import ops
from mmdet.registry import MODELS, TASK_UTILS, TRANSFORMS
from mmengine.config import Config
from mmengine.registry import Registry

from fgclip2_det.fgclip2.checkpoint import is_own_weights
from fgclip2_det.io import InputError

from .work_dir import parse_config_text

REGISTRIES = (MODELS, TASK_UTILS, TRANSFORMS)
SCOPES = ('mmdet', 'mmcv', 'mmengine')
MAX_CHARACTERS = 4_000_000  # configs have some ten thousand
# keys by which MMEngine imports a module or reads a config, and what a value is then
_IMPORTING = ('_scope_', '_base_', 'custom_imports', 'default_scope')
_CODE_ENDINGS = (
    '.py',
    '.pyc',
    '.so',
    '.pkl',
    '.pickle',
    '.pth',
    '.pt',
    '.ckpt',
    '.bin',
)
_FOLDERS_TO_WRITE = ('cache_dir', 'work_dir', 'out_dir', 'save_dir', 'tmpdir')


def embedded_config(text: str, source: object) -> Config:
    """Model and test pipeline of a config text, without executing any of it.

    The text is parsed as literals. A registry imports the module of a dotted ``type``,
    so only names that are already registered are accepted; what makes MMEngine import a
    module, run another config or load other weights is refused. Folders that a class
    would write to are left out with a warning, and ``init_cfg`` without one, since the
    weights are at hand.

    Args:
        text: config as MMEngine stores it in ``meta['cfg']``.
        source: name of the checkpoint, for messages.

    Raises:
        ValueError: if the text is damaged, too long or nested too deeply, lacks the
            model or the test pipeline, or has something that is refused; naming it, and
            ``config=FILE`` as the remedy.
    """
    if len(text) > MAX_CHARACTERS:
        raise InputError(
            f'{source} contains a config of {len(text)} characters, at most '
            f'{MAX_CHARACTERS} are read; pass config=FILE'
        )
    try:
        cfg = parse_config_text(text)
        parts = dict(
            model=cfg['model'],
            test_dataloader=dict(
                dataset=dict(pipeline=cfg['test_dataloader']['dataset']['pipeline'])
            ),
        )
        parts = _without_outside(parts, source)
        _check_types(parts, source)
        _check_values(parts, source)
    except (
        SyntaxError, KeyError, TypeError, AttributeError, RecursionError, MemoryError,
    ) as error:  # fmt: skip
        raise _damaged(source, type(error).__name__) from error
    except ValueError as error:
        if str(error).startswith(str(source)):
            raise
        raise _damaged(source, 'ValueError') from error
    return Config(parts)


def _damaged(source: object, reason: str) -> ValueError:
    return ValueError(
        f'{source} contains a damaged config ({reason}); pass config=FILE'
    )


def _check_types(parts: dict, source: object) -> None:
    known = {name for registry in REGISTRIES for name in _names(registry)}
    known |= set(dir(ops))  # MMDetection looks up RoI layers and NMS there
    for kind in _types(parts):
        scope, _, name = (
            kind.rpartition('.') if isinstance(kind, str) else ('', '', kind)
        )
        if name not in known or (scope and scope not in SCOPES):
            raise InputError(
                f'{source}: its config names {kind!r}, which is not registered; '
                'pass config=FILE if you trust it'
            )


def _check_values(part: Any, source: object, key: object = None) -> None:
    """Refuse what makes a class import, run or unpickle something."""
    if isinstance(part, Mapping):
        for name, value in part.items():
            if name in _IMPORTING:
                raise InputError(
                    f'{source}: its config has {name!r}, by which MMEngine imports '
                    'modules; pass config=FILE if you trust it'
                )
            if (name == 'pretrained' and value is not None) or (
                name == 'encoder' and isinstance(value, str)
            ):
                _check_pretrained(value, source)
            _check_values(value, source, name)
    elif isinstance(part, list | tuple):
        for item in part:
            _check_values(item, source, key)
    elif isinstance(part, str):
        code = part.lower().endswith(_CODE_ENDINGS)
        if code or '://' in part or (key == 'detector'):
            raise InputError(
                f'{source}: its config has {key}={part!r}, a file to run or load '
                'from; pass config=FILE if you trust it'
            )


def _check_pretrained(value: object, source: object) -> None:
    """Weights of an encoder: embedded ones, FG-CLIP's own, or a folder that is here."""
    fine = isinstance(value, str) and (is_own_weights(value) or Path(value).is_dir())
    if not fine:
        raise InputError(
            f'{source}: its config takes an encoder from {value!r}, which is no folder '
            "here and not one of FG-CLIP's; pass config=FILE if you trust it"
        )


def _without_outside(part: Any, source: object) -> Any:
    """A copy without folders to write to and without what weights start from."""
    if isinstance(part, list | tuple):
        return [_without_outside(item, source) for item in part]
    if not isinstance(part, Mapping):
        return part
    kept = {}
    for key, value in part.items():
        if key in _FOLDERS_TO_WRITE and value is not None:
            warnings.warn(
                f'{source}: {key}={value!r} of its config is left out; a checkpoint '
                'does not say where to write',
                stacklevel=2,
            )
            value = None
        elif key == 'init_cfg':
            value = None
        kept[key] = _without_outside(value, source)
    return kept


def _names(registry: Registry | None) -> Iterator[str]:
    """Registered names of a registry and its parents."""
    while registry is not None:
        registry.import_from_location()
        yield from registry.module_dict
        registry = registry.parent


def _types(part: Any) -> Iterator[Any]:
    """Every ``type`` in nested dicts and lists."""
    if isinstance(part, Mapping):
        if 'type' in part:
            yield part['type']
        part = list(part.values())
    if isinstance(part, list | tuple):
        for item in part:
            yield from _types(item)
