"""Merge command line options into a config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config, ConfigDict

from .schedules import LENGTHS, stretch_schedule, train_length
from .variables import spread_places, spread_variables

# keys of an optimizer wrapper of any type
_WRAPPER = ('optimizer', 'constructor', 'paramwise_cfg', 'clip_grad')
_WRAPPER += ('accumulative_counts',)


def merge_options(cfg: Config, options: Mapping[str, Any]) -> list[str]:
    """Merge dotted options into a config.

    A changed top-level variable also changes the values derived from it, a changed
    ``type`` drops the other keys of its dict, and a changed training length rescales
    the schedule.

    Args:
        cfg: changed in place.
        options: dotted key -> value.

    Returns:
        One message for every further change that the options entail.

    Raises:
        ValueError: if options do not fit the config or each other.
    """
    options = both_lengths(cfg, options)
    old = train_length(cfg)
    placed = spread_places(cfg, options)
    spread_variables(cfg, options)
    lines = drop_old_keys(cfg, options)
    try:
        cfg.merge_from_dict(dict(options))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f'--cfg-options do not fit the config: {error}') from error
    given = {key for key, _ in _leaves(options)} | set(options) | set(placed)
    moved = stretch_schedule(cfg, old, given)
    if moved:
        lines.append(f'the schedule follows the training: {"; ".join(moved)}')
    return lines


def both_lengths(cfg: Mapping, options: Mapping[str, Any]) -> dict[str, Any]:
    """Set the training length under all of its keys.

    ``max_epochs`` is often a variable of a config as well as a key of ``train_cfg``.
    """
    options = dict(options)
    for name in LENGTHS.values():
        dotted = f'train_cfg.{name}'
        if name in options and name in (cfg.get('train_cfg') or {}):
            options.setdefault(dotted, options[name])
        elif dotted in options and name in cfg:
            options.setdefault(name, options[dotted])
    return options


def drop_old_keys(cfg: Config, options: Mapping[str, Any]) -> list[str]:
    """Drop the other keys of each dict whose ``type`` an option changes.

    Other options for the dict are merged afterwards. An optimizer wrapper keeps its
    optimizer and related keys. An option that repeats the ``type`` drops nothing.

    Args:
        cfg: config before ``options`` are merged; changed in place.
        options: dotted key -> value.

    Returns:
        One message for each dict that lost keys.
    """
    lines = []
    leaves = dict(_leaves(options))
    for key in sorted(leaves, key=lambda k: k.count('.')):
        parent, _, name = key.rpartition('.')
        old = _find(cfg, parent) if name == 'type' and parent else None
        if not isinstance(old, Mapping) or 'type' not in old:
            continue
        if f'{parent}._delete_' in leaves or _same(old['type'], leaves[key]):
            continue
        kept = {k: old[k] for k in _WRAPPER if k in old and parent == 'optim_wrapper'}
        named = {k[len(parent) + 1 :].split('.')[0] for k in leaves if _in(k, parent)}
        dropped = {
            k: v for k, v in old.items() if k not in {*kept, *named, 'type', '_scope_'}
        }
        holder, _, last = parent.rpartition('.')
        holder = _find(cfg, holder) if holder else cfg
        holder[int(last) if isinstance(holder, list) else last] = ConfigDict(
            type=old['type'], **kept
        )
        if dropped:
            what = ', '.join(f'{k}={_short(v)}' for k, v in dropped.items())
            lines.append(
                f"{parent}.type={leaves[key]} drops {old['type']}'s other keys: {what}"
            )
    return lines


def _leaves(options: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of all leaves of nested dicts."""
    for key, value in options.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}', value


def _find(cfg: Any, key: str) -> Any:
    """Value of a dotted key in a config; None if there is none."""
    for name in key.split('.'):
        if isinstance(cfg, Mapping | Config) and name in cfg:
            cfg = cfg[name]
        elif isinstance(cfg, list) and name.isdigit() and int(name) < len(cfg):
            cfg = cfg[int(name)]
        else:
            return None
    return cfg


def _same(old: Any, new: Any) -> bool:
    return str(old).split('.')[-1] == str(new).split('.')[-1]


def _in(key: str, parent: str) -> bool:
    return key.startswith(f'{parent}.')


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:57]}...'
