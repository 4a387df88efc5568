"""Figures of few names as a table, and as curves against the number of names."""

from __future__ import annotations

import io
from collections.abc import Mapping

from .scores import FIGURES

_TITLES = dict(zip(FIGURES, ('AP', 'AP50', 'prec', 'recall', 'false/100', 'AUROC',
                             'ECE', 'drift', 'max'), strict=True))  # fmt: skip
_COLORS = {'all': 'tab:gray', 'base': 'tab:blue', 'novel': 'tab:orange'}


def figures_table(metrics: Mapping[str, float]) -> str:
    """A row for each k and group; '-' where there is nothing to average.

    Args:
        metrics: '.../k{k}/{group}/{figure}' -> value.
    """
    rows = _by_row(metrics)
    lines = [f'{"names":>5} {"group":<6}']
    lines[0] += ''.join(f'{title:>10}' for title in _TITLES.values())
    for (k, group), values in rows.items():
        line = f'{k:>5} {group:<6}'
        for figure in _TITLES:
            value = values.get(figure, -1)
            digits = 1 if figure == 'false_per_100' else 3
            line += f'{"-" if value == -1 else f"{value:.{digits}f}":>10}'
        lines.append(line)
    return '\n'.join(lines)


def draw_curves(metrics: Mapping[str, float], title: str = '') -> bytes:
    """PNG: precision, recall and boxes of absent names against the number of names.

    Args:
        metrics: see :func:`figures_table`.
        title: above the panels.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = _by_row(metrics)
    ks = list(dict.fromkeys(k for k, _ in rows))
    groups = list(dict.fromkeys(group for _, group in rows))
    figure = Figure(figsize=(12, 3.6), layout='constrained')
    panels = figure.subplots(1, 3)
    shown = (
        ('precision', 'precision'),
        ('recall', 'recall'),
        ('false_per_100', 'boxes per 100 pairs of absent name'),
    )
    for panel, (name, label) in zip(panels, shown, strict=True):
        for group in groups:
            values = [rows.get((k, group), {}).get(name, -1) for k in ks]
            points = [(n, v) for n, v in enumerate(values) if v != -1]
            if points:
                panel.plot(*zip(*points, strict=True), marker='o', label=group,
                           color=_COLORS.get(group))  # fmt: skip
        panel.set_xticks(range(len(ks)), ks)
        panel.set_xlabel('names asked for')
        panel.set_title(label)
        panel.grid(alpha=0.3)
        if name == 'false_per_100':
            panel.set_ylim(bottom=0)
        else:
            panel.set_ylim(0, 1.02)
    panels[0].legend()
    figure.suptitle(title)
    stream = io.BytesIO()
    FigureCanvasAgg(figure).print_png(stream)
    return stream.getvalue()


def _by_row(metrics: Mapping[str, float]) -> dict[tuple[str, str], dict[str, float]]:
    """(k, group) -> figure -> value, by k and then by group."""
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for name, value in metrics.items():
        k, group, figure = name.split('/')[-3:]
        rows.setdefault((k.removeprefix('k'), group), {})[figure] = value
    ks = list(dict.fromkeys(k for k, _ in rows))
    return dict(sorted(rows.items(), key=lambda row: ks.index(row[0][0])))
