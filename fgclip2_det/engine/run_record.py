"""Record of a run's command line options, kept in its work dir."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
    """Record of a run: the options of the run it resumes, then its own.

    Args:
        config: config file of the run.
        options: dotted options of this start; they take precedence.
        amp, auto_scale_lr: flags of this start.
        resumed: work dir of the resumed run; None if none is resumed.

    Returns:
        ``config`` (name), ``options`` (one list of ``key=value`` words for each start
        that added some), ``amp``, ``auto_scale_lr``.

    Raises:
        ValueError: if the record in ``resumed`` is damaged.
    """
    name = Path(config).name
    record: dict[str, Any] = dict(
        config=name, options=[], amp=amp, auto_scale_lr=auto_scale_lr
    )
    old = read_record(resumed) if resumed is not None else None
    if old is not None and old['config'] == name:  # check_resume compares others
        record['options'] = old['options']
        record['amp'], record['auto_scale_lr'] = (
            amp or old['amp'],
            auto_scale_lr or old['auto_scale_lr'],
        )
    known: dict[str, Any] = {}
    for words in record['options']:
        known |= parse_options(words)
    given = options or {}
    if {**known, **given} != known:
        record['options'] = [*record['options'], format_options(given)]
    return record


def recorded_options(record: Mapping) -> list[dict[str, Any]]:
    """The options of each start, in order."""
    return [parse_options(words) for words in record['options']]


def write_record(work_dir: Path | str, record: Mapping) -> None:
    """Write the record of a run to its work dir."""
    text = json.dumps(record, indent=1, ensure_ascii=False)
    write_atomic(Path(work_dir) / RECORD_FILE, f'{text}\n'.encode())


def read_record(work_dir: Path | str) -> dict | None:
    """Read the record in a work dir; None if there is none.

    Raises:
        ValueError: if it is damaged.
    """
    path = Path(work_dir) / RECORD_FILE
    if not path.is_file():
        return None
    record = read_json(path, remedy='delete it')
    if not _is_record(record):
        raise ValueError(
            f'{path} must have the keys config, options, amp and auto_scale_lr; delete '
            'it, and pass the options of the run again'
        )
    return record


def _is_record(record: Any) -> bool:
    if not isinstance(record, dict) or not isinstance(record.get('config'), str):
        return False
    if not all(isinstance(record.get(key), bool) for key in ('amp', 'auto_scale_lr')):
        return False
    starts = record.get('options')
    return isinstance(starts, list) and all(map(_are_words, starts))


def _are_words(items: Any) -> bool:
    return isinstance(items, list) and all(isinstance(item, str) for item in items)
