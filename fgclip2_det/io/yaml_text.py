"""YAML as data: no tags, and nothing that grows when it is read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import yaml

from fgclip2_det.io import InputError

MAX_CHARACTERS = 16 << 20
MAX_VALUES = 1_000_000  # with every alias written out
MAX_DEPTH = 100
_PLAIN = {
    f'tag:yaml.org,2002:{kind}'
    for kind in ('str', 'int', 'float', 'bool', 'null', 'seq', 'map', 'merge')
}
_SAFE = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)


def parse_yaml(text: str, path: str | os.PathLike, loader: Any = _SAFE) -> Any:
    """Content of a YAML text: dicts, lists, texts, numbers, truth values and None.

    Args:
        text: one document.
        path: of the file, for messages.
        loader: one of PyYAML that makes plain values, such as ``BaseLoader``.

    Raises:
        InputError: naming the file: it is not YAML, has a tag, an alias inside what it
            stands for, or more than :data:`MAX_CHARACTERS`, :data:`MAX_VALUES` or
            :data:`MAX_DEPTH`.
    """
    if len(text) > MAX_CHARACTERS:
        raise InputError(
            f'{path} has {len(text):,} characters of YAML, at most {MAX_CHARACTERS:,} '
            'are read'
        )
    try:
        fault = _fault(yaml.parse(text, _SAFE))
        content = None if fault else yaml.load(text, loader)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        reason = ' '.join(str(error).split())
        raise InputError(f'{path} is not YAML: {reason:.300}') from error
    if fault:
        raise InputError(f'{path} {fault}')
    return content


def _fault(events: Iterable[Any]) -> str | None:
    """What makes the events of a document more than data, if anything."""
    sizes: dict[str, int] = {}  # values of what an anchor names, aliases written out
    open_nodes: list[list] = [[None, 0]]  # anchor, values so far
    for event in events:
        tag = getattr(event, 'tag', None)
        if tag not in (None, '!') and tag not in _PLAIN:
            return f'has the tag {tag!r}, which is not read; leave it out'
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append([event.anchor, 1])
            if len(open_nodes) > MAX_DEPTH:
                return f'is nested too deeply, {MAX_DEPTH} levels are read'
            continue
        size = 1
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_nodes.pop()
        elif isinstance(event, yaml.AliasEvent):
            anchor, size = None, sizes.get(event.anchor)
            if size is None:
                return f'has the alias *{event.anchor} inside what it stands for'
        elif isinstance(event, yaml.ScalarEvent):
            anchor = event.anchor
        else:
            continue
        if anchor is not None:
            sizes[anchor] = size
        open_nodes[-1][1] += size
        if open_nodes[-1][1] > MAX_VALUES:
            return f'stands for more than {MAX_VALUES:,} values; write fewer aliases'
    return None
