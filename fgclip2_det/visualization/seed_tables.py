"""Tables of results with several seeds, as Markdown and as bar charts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

from fgclip2_det.io.atomic import open_atomic

SeedTable = dict[str, dict[str, list[float]]]  # row -> column -> percent of each seed


def format_markdown(table: SeedTable, head: str = 'config') -> str:
    """Mean and sample standard deviation over seeds, as a Markdown table.

    Args:
        table: R rows of the same columns, at least one.
        head: what the rows are.

    Example:
        >>> print(format_markdown({'a': {'novel_ap50': [90.0, 92.0]}}))
        | config | seeds | novel_ap50 |
        |---|---|---|
        | a | 2 | 91.0 ± 1.4 |
    """
    columns = list(next(iter(table.values())))
    lines = [
        f'| {head} | seeds | {" | ".join(columns)} |',
        f'|---|---{"|---" * len(columns)}|',
    ]
    for row, values in table.items():
        cells = ' | '.join(_cell(values[name]) for name in columns)
        lines.append(f'| {row} | {len(values[columns[0]])} | {cells} |')
    return '\n'.join(lines)


def draw_table(
    table: SeedTable,
    out: str | os.PathLike,
    num_rows: int = 1,
    figsize: tuple[float, float] | None = None,
    from_zero: bool = False,
) -> Path:
    """Bar chart: a panel per column, a bar per row, standard deviations as lines.

    Args:
        table: see :func:`format_markdown`.
        out: PNG file to write.
        num_rows: of panels.
        figsize: (w, h) in inches; None: room for every panel and bar.
        from_zero: whether axes begin at 0, not 15 below the lowest bar.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names, columns = list(table), list(next(iter(table.values())))
    across = -(-len(columns) // num_rows)
    size = figsize or (3 + 3 * across, num_rows * (1.2 + 0.35 * len(names)))
    figure = Figure(figsize=size, layout='constrained')
    panels = figure.subplots(num_rows, across, sharey=True, squeeze=False)
    for panel, column in zip(panels.flat, columns, strict=False):
        values = [table[name][column] for name in names]
        means = [mean(v) for v in values]
        spread = [stdev(v) if len(v) > 1 else 0.0 for v in values]
        panel.barh(range(len(names)), means, xerr=spread, capsize=2)
        panel.set_xlim(0 if from_zero else max(0, min(means) - 15), 100)
        panel.set_title(f'{column} (%)', fontsize=9)
        panel.tick_params(labelsize=8)
    panels[0, 0].set_yticks(range(len(names)), names)
    panels[0, 0].invert_yaxis()
    out = Path(out)
    with open_atomic(out) as file:
        FigureCanvasAgg(figure).print_png(file)
    return out


def _cell(values: Sequence[float]) -> str:
    spread = f' ± {stdev(values):.1f}' if len(values) > 1 else ''
    return f'{mean(values):.1f}{spread}'
