"""Read the config stored in a checkpoint that need not be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmcv import ops
from mmdet.registry import MODELS, TASK_UTILS, TRANSFORMS
from mmengine.config import Config
from mmengine.registry import Registry

from .work_dir import parse_config_text

REGISTRIES = (MODELS, TASK_UTILS, TRANSFORMS)
SCOPES = ('mmdet', 'mmcv', 'mmengine')


def embedded_config(text: str, source: object) -> Config:
    """Model and test pipeline of a config text, without executing any of it.

    The text is parsed as literals. A registry imports the module of a dotted ``type``,
    so only names that are already registered are accepted.

    Args:
        text: config as MMEngine stores it in ``meta['cfg']``.
        source: name of the checkpoint, for messages.

    Raises:
        ValueError: if the text is damaged, lacks the model or the test pipeline, or
            has a ``type`` that is not registered.
    """
    try:
        cfg = parse_config_text(text)
        parts = dict(
            model=cfg['model'],
            test_dataloader=dict(
                dataset=dict(pipeline=cfg['test_dataloader']['dataset']['pipeline'])
            ),
        )
    except (SyntaxError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f'{source} contains a damaged config ({type(error).__name__}); pass '
            'config=FILE'
        ) from error
    known = {name for registry in REGISTRIES for name in _names(registry)}
    known |= set(dir(ops))  # MMDetection looks up RoI layers and NMS there
    for kind in _types(parts):
        scope, _, name = (
            kind.rpartition('.') if isinstance(kind, str) else ('', '', kind)
        )
        if name not in known or (scope and scope not in SCOPES):
            raise ValueError(
                f'{source}: its config names {kind!r}, which is not registered; '
                'pass config=FILE if you trust it'
            )
    return Config(parts)


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
