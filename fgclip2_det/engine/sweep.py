"""Train configs with several seeds, and tabulate mean and standard deviation."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from fgclip2_det.engine.finished_runs import (
    check_settings,
    resolved_config,
    write_settings,
)
from fgclip2_det.engine.options import format_options
from fgclip2_det.io.atomic import temporary_path
from fgclip2_det.io.text import read_json

Table = dict[str, dict[str, list[float]]]  # config -> metric -> value of each seed


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
        code = subprocess.run(command).returncode
        if code or not done.is_file():
            raise ValueError(
                f'a training ended with exit code {code}, see its output above; run '
                f'the same sweep again to continue. It was: {shlex.join(command)}'
            )
        write_settings(record, settings | {'finished': True})
    return read_json(done, remedy='delete it')


def collect(
    results: Mapping[str, Sequence[Mapping[str, float]]], metrics: Sequence[str]
) -> Table:
    """The requested metrics of every config, in percent.

    Args:
        results: config -> metrics of each seed, 0 to 1.
        metrics: names, or name suffixes ('novel_ap50').

    Raises:
        ValueError: for a metric that a result does not have.
    """
    table: Table = {}
    for config, runs in results.items():
        table[config] = {}
        for metric in metrics:
            table[config][metric] = [100 * _find(run, metric) for run in runs]
    return table


def format_markdown(table: Table) -> str:
    """Mean and sample standard deviation over seeds, as a Markdown table.

    Example:
        >>> print(format_markdown({'a': {'novel_ap50': [90.0, 92.0]}}))
        | config | seeds | novel_ap50 |
        |---|---|---|
        | a | 2 | 91.0 ± 1.4 |
    """
    columns = list(next(iter(table.values())))
    lines = [
        f'| config | seeds | {" | ".join(columns)} |',
        f'|---|---{"|---" * len(columns)}|',
    ]
    for config, values in table.items():
        cells = ' | '.join(_cell(values[name]) for name in columns)
        lines.append(f'| {config} | {len(values[columns[0]])} | {cells} |')
    return '\n'.join(lines)


def draw_table(table: Table, out: Path) -> Path:
    """Bar chart: a panel per metric, a bar per config, standard deviations as lines.

    Args:
        table: result of :func:`collect`.
        out: PNG file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names, columns = list(table), list(next(iter(table.values())))
    size = (3 + 3 * len(columns), 1.2 + 0.35 * len(names))
    figure = Figure(figsize=size, layout='constrained')
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for panel, column in zip(panels, columns, strict=True):
        values = [table[name][column] for name in names]
        spread = [stdev(v) if len(v) > 1 else 0.0 for v in values]
        panel.barh(range(len(names)), [mean(v) for v in values], xerr=spread, capsize=2)
        low = min(mean(v) for v in values)
        panel.set_xlim(max(0, low - 15), 100)
        panel.set_title(f'{column} (%)', fontsize=9)
        panel.tick_params(labelsize=8)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    with temporary_path(out) as partial:
        FigureCanvasAgg(figure).print_png(partial)
    return out


def _cell(values: Sequence[float]) -> str:
    spread = f' ± {stdev(values):.1f}' if len(values) > 1 else ''
    return f'{mean(values):.1f}{spread}'


def _find(metrics: Mapping[str, float], name: str) -> float:
    values = [
        v for key, v in metrics.items() if key == name or key.endswith('/' + name)
    ]
    if len(values) != 1 or values[0] is None:
        raise ValueError(
            f'a result has no metric {name!r}; choose among {", ".join(metrics)}'
        )
    return values[0]
