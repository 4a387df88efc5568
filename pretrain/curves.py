"""Plots of training curves, from the logs of one or several stages."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from fgclip2_det.io.atomic import open_atomic
from fgclip2_det.io.text import parse_json

LOGGED = 'loss', 'cmr_threshold'


def read_scalars(work_dir: str | os.PathLike) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of every logged loss term, in the order of steps.

    Runs that were stopped and resumed leave several logs; a later one counts where
    they overlap.

    Raises:
        ValueError: if there is no log.
    """
    files = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    if not files:
        raise ValueError(f'{work_dir} holds no log (*/vis_data/scalars.json)')
    series: dict[str, dict[int, float]] = {}
    for file in files:
        for line in file.read_text(encoding='utf-8').splitlines():
            try:
                row = parse_json(line)
            except ValueError as error:
                raise ValueError(f'{file} is damaged ({error})') from error
            for name, value in row.items():
                if name.startswith(LOGGED):
                    series.setdefault(name, {})[row['step']] = value
    return {name: sorted(values.items()) for name, values in series.items()}


def draw_curves(work_dirs: Sequence[str | os.PathLike], out: str | os.PathLike) -> Path:
    """One row of panels per stage: each loss term against the step.

    Args:
        work_dirs: of the stages, in their order.
        out: image file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    stages = [read_scalars(work_dir) for work_dir in work_dirs]
    columns = max(map(len, stages))
    figure = Figure(figsize=(2.6 * columns, 2.2 * len(stages)), layout='constrained')
    panels = figure.subplots(len(stages), columns, squeeze=False)
    for row, work_dir, curves in zip(panels, work_dirs, stages, strict=True):
        for panel, name in zip(row, curves, strict=False):
            steps, values = zip(*curves[name], strict=True)
            panel.plot(steps, values, linewidth=1)
            panel.set_title(name, fontsize=8)
            panel.tick_params(labelsize=6)
        for panel in row[len(curves) :]:
            panel.axis('off')
        row[0].set_ylabel(Path(work_dir).name, fontsize=5)
    out = Path(out)
    with open_atomic(out) as file:
        FigureCanvasAgg(figure).print_png(file)
    return out
