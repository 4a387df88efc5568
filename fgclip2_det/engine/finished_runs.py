"""Records of the settings with which the results in a folder were computed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fgclip2_det.engine.config import load_config
from fgclip2_det.engine.work_dir import first_difference
from fgclip2_det.io.atomic import write_atomic
from fgclip2_det.io.text import json_values, read_json


def resolved_config(
    config: Path, options: Mapping[str, Any], folder: Path
) -> dict[str, Any]:
    """The config of a training in ``folder``, as plain JSON values.

    Base files, variables and options are merged, so that an edit of any of them makes
    a difference. The folder itself makes none.
    """
    cfg = load_config(config, options, str(folder)).to_dict()
    del cfg['work_dir']
    return json_values(cfg, default=_name)


def check_settings(path: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the record of an earlier run in the same folder; None if there is none.

    Args:
        path: JSON file written by :func:`write_settings`.
        settings: settings of the current run.

    Raises:
        ValueError: if the settings differ, naming the first difference.
    """
    if not path.is_file():
        return None
    content = read_json(path, remedy='delete it')
    expected = json_values(settings)
    theirs = {name: content.get(name) for name in expected}
    difference = first_difference(expected, theirs)
    if difference is not None:
        key, here, there = difference
        raise ValueError(
            f'{path.parent} has results of another run: {key} is {there!r:.80} there, '
            f'{here!r:.80} here; choose another --work-dir, or delete that folder'
        )
    return content


def write_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings of a run into its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, f'{json.dumps(settings, indent=1)}\n'.encode())


def _name(value: object) -> str:
    """Dotted name of a class or function; ``str`` of other values."""
    name = getattr(value, '__qualname__', None)
    return str(value) if name is None else f'{value.__module__}.{name}'
