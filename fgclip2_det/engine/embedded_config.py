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
    """Model and test pipeline of a config text, without running anything of it.

    The text is read as literals. A registry would import whatever a dotted ``type``
    names, so only names that are registered already are let through.

    Args:
        text: what MMEngine stores as ``meta['cfg']``.
        source: file that it came from, for messages.

    Raises:
        ValueError: if the text is damaged, lacks a part, or names something else.
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
    known |= set(dir(ops))  # RoI layers and NMS are looked up there
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
