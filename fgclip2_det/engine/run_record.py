"""Record in the work dir of the options that a run was started with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fgclip2_det.io.atomic import write_atomic
from fgclip2_det.io.text import read_json

from .options import format_options, parse_options

RECORD_FILE = 'run.json'


def start_record(
    config: Path | str,
    options: Mapping[str, Any] | None,
    amp: bool = False,
    auto_scale_lr: bool = False,
    resumed: Path | str | None = None,
) -> dict:
    """What a run starts with: its own options, after those of the run it resumes.

    Args:
        config: file of the run.
        options: dotted options of this start; they win.
        amp, auto_scale_lr: flags of this start.
        resumed: work dir of the run that this one resumes, if it does.

    Returns:
        ``config`` (name), ``options`` (a list of ``key=value`` words for each start
        that brought new ones), ``amp``, ``auto_scale_lr``.

    Raises:
        ValueError: if the work dir's record cannot be read.
    """
    name = Path(config).name
    record = dict(config=name, options=[], amp=amp, auto_scale_lr=auto_scale_lr)
    old = read_record(resumed) if resumed is not None else None
    if old is not None and old['config'] == name:  # another config is compared anyway
        record['options'] = old['options']
        record['amp'], record['auto_scale_lr'] = (
            amp or old['amp'],
            auto_scale_lr or old['auto_scale_lr'],
        )
    known: dict[str, Any] = {}
    for words in record['options']:
        known |= parse_options(words)
    if {**known, **(options or {})} != known:
        record['options'] = [*record['options'], format_options(options)]
    return record


def recorded_options(record: Mapping) -> list[dict[str, Any]]:
    """The options of each start, in order."""
    return [parse_options(words) for words in record['options']]


def write_record(work_dir: Path | str, record: Mapping) -> None:
    """Note in the work dir what its run was started with."""
    text = json.dumps(record, indent=1, ensure_ascii=False)
    write_atomic(Path(work_dir) / RECORD_FILE, f'{text}\n'.encode())


def read_record(work_dir: Path | str) -> dict | None:
    """The record in a work dir; None where there is none.

    Raises:
        ValueError: if it is damaged.
    """
    path = Path(work_dir) / RECORD_FILE
    if not path.is_file():
        return None
    record = read_json(path, remedy='delete it')
    if not _is_record(record):
        raise ValueError(
            f'{path} must hold config, options, amp and auto_scale_lr of a run; delete '
            'it, and give the options of the run again'
        )
    return record


def _is_record(record: Any) -> bool:
    if not isinstance(record, dict) or not isinstance(record.get('config'), str):
        return False
    if not all(isinstance(record.get(key), bool) for key in ('amp', 'auto_scale_lr')):
        return False
    starts = record.get('options')
    return _are(starts, list) and all(_are(words, str) for words in starts)


def _are(items: Sequence | None, kind: type) -> bool:
    return isinstance(items, list) and all(isinstance(item, kind) for item in items)
