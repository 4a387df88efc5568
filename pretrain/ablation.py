"""Ablation of stage 2's losses: variants, result table and figure."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from fgclip2_det.datasets.ovshapes.captions import LANGUAGES
from fgclip2_det.visualization import seed_tables
from fgclip2_det.visualization.seed_tables import SeedTable
from pretrain.presets import PRESETS


def _preset(name: str, **changes: Any) -> dict[str, Any]:
    """A preset with its own FGV and FGT, not those of the config."""
    own = PRESETS[name]
    return dict(preset=name, fgv=own.fgv, fgt=own.fgt) | changes


# Variant -> changes of the config's losses; None is not trained at all. The losses of
# captions stay throughout, as in table 8 of the paper (arXiv:2510.10921).
VARIANTS: dict[str, dict[str, Any] | None] = {
    'full': {},
    'w/o FGV': dict(fgv=0.0),
    'w/o FGT': dict(fgt=0.0),
    'w/o TIC': dict(tic=0.0),
    'w/o CMR': dict(cmr=0.0),
    'w/o CMR, TIC': dict(cmr=0.0, tic=0.0),
    'paper': _preset('paper'),
    'paper, mean TIC': _preset('paper', tic_reduction='mean'),
    'released': _preset('released'),
    'stage 1 only': None,
}
# Column -> metrics of evaluate_ovshapes, {} for the language
COLUMNS = {
    'box base': 'box_top1/base/{}',
    'box novel': 'box_top1/novel/{}',
    'hard base': 'hard11_base/{}',
    'hard novel': 'hard11/{}',
    'short i2t': 'retrieval/short/{}/i2t',
    'short t2i': 'retrieval/short/{}/t2i',
    'long i2t': 'retrieval/long/{}/i2t',
    'long t2i': 'retrieval/long/{}/t2i',
}


def slug(variant: str) -> str:
    """Name of a variant's files.

    Example:
        >>> slug('w/o CMR, TIC')
        'wo-cmr-tic'
    """
    return '-'.join(variant.lower().replace('/', '').replace(',', '').split())


def find_variant(name: str) -> str:
    """A variant by its name or its files' name.

    Raises:
        ValueError: if there is none.
    """
    for variant in VARIANTS:
        if name in (variant, slug(variant)):
            return variant
    raise ValueError(f'there is no variant {name!r}; there are {", ".join(VARIANTS)}')


def schedule_options(cfg: Mapping[str, Any], length: float) -> dict[str, int]:
    """Dotted options that make an iteration-based training shorter, or longer.

    Args:
        cfg: config with ``train_cfg.max_iters`` and ``param_scheduler``.
        length: factor of all its iterations.

    Raises:
        ValueError: if the config counts epochs, or the factor is not positive.
    """
    iters = (cfg.get('train_cfg') or {}).get('max_iters')
    if iters is None:
        raise ValueError('the length of a config without train_cfg.max_iters is fixed')
    if not length > 0:
        raise ValueError(f'length must be more than 0, got {length}')
    if length == 1:
        return {}
    options = {'train_cfg.max_iters': max(1, round(iters * length))}
    for number, scheduler in enumerate(cfg.get('param_scheduler') or []):
        begin = round(scheduler.get('begin', 0) * length)
        values = {'begin': begin}
        if 'end' in scheduler:  # else it ends with the training
            values['end'] = max(begin + 1, round(scheduler['end'] * length))
        options |= {f'param_scheduler.{number}.{k}': v for k, v in values.items()}
    return options


def read_columns(metrics: Mapping[str, float]) -> dict[str, float]:
    """Percent by column: the mean of English and Chinese.

    Raises:
        ValueError: naming the metric that is not there.
    """
    columns = {}
    for column, name in COLUMNS.items():
        names = [name.format(language) for language in LANGUAGES]
        if missing := [name for name in names if name not in metrics]:
            raise ValueError(f'a result lacks the metric {missing[0]}')
        columns[column] = mean(metrics[name] for name in names)
    return columns


def collect(results: Sequence[Mapping[str, Any]]) -> SeedTable:
    """Results of single runs by variant, in the order of :data:`VARIANTS`.

    Args:
        results: each with ``variant`` and ``metrics``.
    """
    table: SeedTable = {}
    for variant in VARIANTS:
        rows = [
            read_columns(result['metrics'])
            for result in results
            if result['variant'] == variant
        ]
        if rows:
            table[variant] = {name: [row[name] for row in rows] for name in COLUMNS}
    return table


def format_markdown(table: SeedTable) -> str:
    """Mean and sample standard deviation over seeds, as a Markdown table."""
    return seed_tables.format_markdown(table, 'losses')


def draw_table(table: SeedTable, out: str | os.PathLike) -> Path:
    """A panel per column, a bar per variant, a line for the spread over seeds."""
    size = 12, 1.6 + 0.5 * len(table)
    return seed_tables.draw_table(table, out, num_rows=2, figsize=size, from_zero=True)
