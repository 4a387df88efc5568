"""Plots of training curves, from the logs of one or several stages."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from fgclip2_det.coco.checks import is_number
from fgclip2_det.io import InputError
from fgclip2_det.io.atomic import open_atomic
from fgclip2_det.io.text import parse_json, read_text

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
        for number, line in enumerate(read_text(file).splitlines(), 1):
            try:
                row = parse_json(line)
            except ValueError as error:
                raise InputError(
                    f'{file}, line {number} is damaged ({error})'
                ) from error
            given = row if isinstance(row, dict) else {}
            logged = {n: v for n, v in given.items() if n.startswith(LOGGED)}
            numbers = all(isinstance(v, int | float) for v in logged.values())
            if logged and not (numbers and is_number(given.get('step'))):
                raise InputError(f'{file}, line {number} is damaged: no step or values')
            for name, value in logged.items():
                series.setdefault(name, {})[given['step']] = value
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
