"""Print the metrics of a finished run."""

from collections.abc import Mapping
from pathlib import Path

from fgclip2_det.io.text import read_json

from .first_process import is_first_process
from .hooks.metrics_json_hook import METRICS_FILE


def report(work_dir: str, image_dir: str | None = None) -> None:
    """Print the metrics of a finished run and the paths of its files (rank 0 only)."""
    metrics = Path(work_dir) / METRICS_FILE
    if not is_first_process() or not metrics.is_file():
        return
    print(f'\n{metrics_table(read_json(metrics))}')
    print(f'\nmetrics:  {metrics}')
    sheet = Path(image_dir or work_dir) / 'detections.png'
    if sheet.is_file():
        print(f'images:   {sheet} and {sheet.parent / "vis"}')


def metrics_table(metrics: Mapping[str, float | None]) -> str:
    """Metrics as two aligned columns, one line each."""
    width = max(map(len, metrics), default=0)
    lines = [
        f'{name:<{width}}  ' + ('    -' if value is None else f'{value:.4f}')
        for name, value in metrics.items()
    ]
    return '\n'.join(lines)
