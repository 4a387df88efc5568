"""Top-level variables of a config, changed from the command line."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any


def spread_variables(cfg: MutableMapping, options: Mapping[str, Any]) -> None:
    """Carry a changed variable to the places that were built from it.

    A config says ``data_root = 'data/chess'`` once and uses it in three data sets
    and an annotation path; by the time an option arrives these are plain values.
    So wherever the same key holds the variable's old value it gets the new one,
    and paths that start with it get the new start.

    Args:
        cfg: config before ``options`` are merged; changed in place.
        options: dotted key -> value; only undotted keys of plain values count.

    Example:
        >>> cfg = dict(root='a', train=dict(root='a', file='a/x.json'))
        >>> spread_variables(cfg, dict(root='b'))
        >>> cfg
        {'root': 'b', 'train': {'root': 'b', 'file': 'b/x.json'}}
    """
    for key, new in options.items():
        old = cfg.get(key)
        if '.' not in key and old is not None and not isinstance(old, Mapping):
            _spread(cfg, key, old, new)


def _spread(part: Any, key: str, old: Any, new: Any) -> None:
    names = range(len(part)) if isinstance(part, list) else list(part.keys())
    for name in names:
        value = part[name]
        if name == key and value == old:
            part[name] = new
        elif isinstance(value, str) and _starts_with(value, old):
            part[name] = f'{new}{value[len(old) :]}'
        elif isinstance(value, Mapping | list):
            _spread(value, key, old, new)


def _starts_with(path: str, root: Any) -> bool:
    return isinstance(root, str) and bool(root) and path.startswith(f'{root}/')
