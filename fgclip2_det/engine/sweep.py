"""Train configs with several seeds, and collect their metrics."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fgclip2_det.engine.finished_runs import (
    check_settings,
    resolved_config,
    write_settings,
)
from fgclip2_det.engine.options import format_options
from fgclip2_det.io.child_processes import environment_of_child
from fgclip2_det.io.text import read_json
from fgclip2_det.visualization.seed_tables import SeedTable


def run_config(
    config: Path,
    seed: int,
    work_dir: Path,
    options: Mapping[str, Any],
    train: Path,
) -> dict[str, float]:
    """Metrics of one training, read from its folder if it has finished.

    Args:
        config: config file of a detector.
        seed: seed of the training.
        work_dir: parent of ``<config>/seed<seed>``; a stopped training is resumed.
        options: dotted options of the config.
        train: path of ``tools/train.py``.

    Raises:
        ValueError: if the folder is of another config, seed or options, naming the
            difference; or if the training failed.
    """
    folder = work_dir / config.stem / f'seed{seed}'
    resolved = resolved_config(config, options, folder)
    settings = {'seed': seed, 'config': resolved}
    record, done = folder / 'sweep.json', folder / 'metrics.json'
    previous = check_settings(record, settings) or {}
    if not previous.get('finished'):
        write_settings(record, settings)
        command = [sys.executable, str(train), str(config), '--work-dir', str(folder)]
        command += ['--seed', str(seed), '--resume']
        if options:
            command += ['--cfg-options', *format_options(options)]
        code = subprocess.run(command, env=environment_of_child()).returncode
        if code or not done.is_file():
            raise ValueError(
                f'a training ended with exit code {code}, see its output above; run '
                f'the same sweep again to continue. It was: {shlex.join(command)}'
            )
        write_settings(record, settings | {'finished': True})
    return read_json(done, remedy='delete it')


def collect(
    results: Mapping[str, Sequence[Mapping[str, float]]], metrics: Sequence[str]
) -> SeedTable:
    """The requested metrics of every config, in percent.

    Args:
        results: config -> metrics of each seed, 0 to 1.
        metrics: names, or name suffixes ('novel_ap50').

    Raises:
        ValueError: for a metric that a result does not have.
    """
    table: SeedTable = {}
    for config, runs in results.items():
        table[config] = {}
        for metric in metrics:
            table[config][metric] = [100 * _find(run, metric) for run in runs]
    return table


def _find(metrics: Mapping[str, float], name: str) -> float:
    values = [
        v for key, v in metrics.items() if key == name or key.endswith('/' + name)
    ]
    if len(values) != 1 or values[0] is None:
        raise ValueError(
            f'a result has no metric {name!r}; choose among {", ".join(metrics)}'
        )
    return values[0]
