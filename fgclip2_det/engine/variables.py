"""Propagation of changed top-level variables of a config to their uses."""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

_PLACE = re.compile('(^|_)(from|begin|start|end|until|warm_?up(_iters)?)$')


def spread_variables(cfg: MutableMapping, options: Mapping[str, Any]) -> None:
    """Update the values that were derived from a changed variable.

    A config sets ``data_root = 'data/chess'`` once and uses it in three data sets and
    an annotation path; once it is loaded, these are plain values. So the new value
    replaces the variable's old one under the same key, and if the old value is a path,
    also in every path that equals it, starts with it or ends with it. A trailing slash
    makes no difference.

    Args:
        cfg: config before ``options`` are merged; changed in place.
        options: dotted key -> value; only keys without dots and plain values are used.

    Example:
        >>> cfg = dict(root='a/b', train=dict(root='a/b', file='a/b/x.json'))
        >>> spread_variables(cfg, dict(root='c'))
        >>> cfg
        {'root': 'c', 'train': {'root': 'c', 'file': 'c/x.json'}}
    """
    for key, new in options.items():
        old = cfg.get(key)
        if '.' not in key and old is not None and not isinstance(old, Mapping):
            _spread(cfg, key, old, new)


def spread_places(cfg: MutableMapping, options: Mapping[str, Any]) -> list[str]:
    """Update the schedulers for a changed variable that is a time in the training.

    ``decay_from = 800`` is a scheduler's ``begin``, another key with the same number,
    so only variables with names of such times are considered.

    Args:
        cfg: config before ``options`` are merged; changed in place.
        options: dotted key -> value.

    Returns:
        Dotted keys that were changed.
    """
    schedulers = cfg.get('param_scheduler') or []
    changed = []
    for key, new in options.items():
        old = cfg.get(key) if '.' not in key else None
        if not (_PLACE.search(key) and type(old) is int and type(new) is int):
            continue
        for number, part in enumerate(schedulers if type(schedulers) is list else ()):
            for name in ('begin', 'end'):
                if part.get(name) == old:
                    part[name] = new
                    changed.append(f'param_scheduler.{number}.{name}')
    return changed


def _spread(part: Any, key: str, old: Any, new: Any) -> None:
    names = range(len(part)) if isinstance(part, list) else list(part.keys())
    for name in names:
        value = part[name]
        if name == key and value == old:
            part[name] = new
        elif isinstance(value, str) and isinstance(old, str) and old:
            part[name] = _exchange(value, old, str(new))
        elif isinstance(value, Mapping | list):
            _spread(value, key, old, new)


def _exchange(path: str, old: str, new: str) -> str:
    """Replace a leading or trailing ``old`` in ``path``; a single word is not a path.
    MMDetection's roots end with a slash, this package's do not."""
    old, is_path = old.rstrip('/'), '/' in old
    if not old:
        return path
    if path.startswith(f'{old}/'):
        rest = path[len(old) :].lstrip('/')
        return f'{new.rstrip("/")}/{rest}' if rest else new
    if path == old and is_path:
        return new
    if path.endswith(f'/{old}') and is_path:
        return path[: -len(old)] + new
    return path
