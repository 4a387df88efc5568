"""Config files in YAML or JSON: data, unlike those in Python, which run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fgclip2_det.io import InputError
from fgclip2_det.io.text import read_json, read_text
from fgclip2_det.io.yaml_text import parse_yaml

from .embedded_config import SCOPES

ENDINGS = ('.json', '.yaml', '.yml')
_SCOPE_KEYS = ('_scope_', 'default_scope')
_OWN = ('fgclip2_det', 'pretrain', *SCOPES)  # packages that such a config may import
_PYTHON = 'write it in Python (.py), which may run code, if you trust it'


def check_data_config(path: Path, parents: tuple[Path, ...] = ()) -> None:
    """Check a YAML or JSON config, and those that it is based on, before it is loaded.

    MMEngine would make the objects that tags of YAML name, run a Python file that is
    the base of another, and import modules that a config names.

    Args:
        path: of the file.
        parents: files that it is a base of.

    Raises:
        InputError: naming the file: it cannot be read, is no object, has a tag, a base
            in Python or itself as a base, or names other packages than this one and
            MMDetection's.
    """
    yaml = path.suffix.lower() != '.json'
    content = parse_yaml(read_text(path), path) if yaml else read_json(path)
    if not isinstance(content, Mapping):
        raise InputError(f'{path} must hold an object of key: value; correct it')
    for name in _bases(content.get('_base_'), path):
        base = path.parent / name
        if base.suffix.lower() not in ENDINGS:
            raise InputError(f'{path} is based on {name}, which runs; {_PYTHON}')
        if base.resolve() in parents or base.resolve() == path.resolve():
            raise InputError(f'{path} is based on itself, through {name}')
        check_data_config(base, (*parents, path.resolve()))
    for what, module in _modules(content):
        if not isinstance(module, str) or module.split('.')[0] not in _OWN:
            raise InputError(f'{path}: {what} names {module!r:.200}; {_PYTHON}')


def _bases(value: Any, path: Path) -> list[str]:
    bases = value if isinstance(value, list) else [value] if value else []
    if not all(isinstance(name, str) for name in bases):
        raise InputError(f'{path}: _base_ must name files, got {value!r:.200}')
    return bases


def _modules(part: Any) -> Iterator[tuple[str, Any]]:
    """What would be imported, and the key that says so."""
    if isinstance(part, Mapping):
        for key, value in part.items():
            if key == 'custom_imports':
                imports = value.get('imports') if isinstance(value, Mapping) else value
                names = imports if isinstance(imports, list) else [imports]
                yield from ((key, name) for name in names)
                continue
            dotted = key == 'type' and isinstance(value, str) and '.' in value
            if dotted or (key in _SCOPE_KEYS and value is not None):
                yield key, value
        part = list(part.values())
    if isinstance(part, list):
        for item in part:
            yield from _modules(item)
