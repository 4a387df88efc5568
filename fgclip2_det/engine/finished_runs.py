"""Record of the settings that the results in a folder were made with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fgclip2_det.engine.config import load_config
from fgclip2_det.engine.work_dir import first_difference
from fgclip2_det.io.atomic import write_atomic
from fgclip2_det.io.text import read_json


def resolved_config(
    config: Path, options: Mapping[str, Any], folder: Path
) -> dict[str, Any]:
    """All of a config as a training in ``folder`` would read it, as plain JSON values.

    Bases, variables and options are merged, so whatever is edited, wherever, shows.
    The folder itself does not.
    """
    cfg = load_config(config, options, str(folder)).to_dict()
    del cfg['work_dir']
    return json.loads(json.dumps(cfg, default=_name))


def check_record(path: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of an earlier start in the same folder; None without one.

    Args:
        path: JSON file that :func:`write_record` wrote.
        settings: of the run that is to be there.

    Raises:
        ValueError: it is of another run, naming the first setting that differs.
    """
    if not path.is_file():
        return None
    content = read_json(path, remedy='delete it')
    expected = json.loads(json.dumps(settings))
    theirs = {name: content.get(name) for name in expected}
    difference = first_difference(expected, theirs)
    if difference is not None:
        key, here, there = difference
        raise ValueError(
            f'{path.parent} has results of another run: {key} is {there!r:.80} there, '
            f'{here!r:.80} here; choose another --work-dir, or delete that folder'
        )
    return content


def write_record(path: Path, settings: Mapping[str, Any]) -> None:
    """Note in a folder whose run it holds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, f'{json.dumps(settings, indent=1)}\n'.encode())


def _name(value: object) -> str:
    """A class or function by its name; others as they print."""
    name = getattr(value, '__qualname__', None)
    return str(value) if name is None else f'{value.__module__}.{name}'
