"""Write the last evaluation's metrics to a JSON file."""

import json
import math
from collections.abc import Mapping
from numbers import Number
from pathlib import Path
from typing import cast

from mmdet.registry import HOOKS
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from fgclip2_det.io.atomic import write_atomic

METRICS_FILE = 'metrics.json'


@HOOKS.register_module()
class OpenVocabMetricsJsonHook(Hook):
    """Write ``work_dir/metrics.json``, {name: value}, after each evaluation.

    Values are plain floats, or null for an undefined metric (NaN: no such box in the
    annotations). The file is replaced atomically.

    Example:
        >>> custom_hooks = [dict(type='OpenVocabMetricsJsonHook')]
    """

    priority = 'LOWEST'

    @master_only
    def before_train(self, runner: Runner) -> None:
        """Delete the metrics of an earlier run, unless this run resumes it."""
        if runner.iter == 0:
            (Path(runner.work_dir) / METRICS_FILE).unlink(missing_ok=True)

    def after_val_epoch(self, runner: Runner, metrics: Mapping | None = None) -> None:
        """Write the validation's metrics."""
        self._write(runner, metrics)

    def after_test_epoch(self, runner: Runner, metrics: Mapping | None = None) -> None:
        """Write the test's metrics."""
        self._write(runner, metrics)

    @master_only
    def _write(self, runner: Runner, metrics: Mapping | None) -> None:
        plain = plain_metrics(metrics or {})
        text = json.dumps(plain, indent=1, ensure_ascii=False)
        write_atomic(Path(runner.work_dir) / METRICS_FILE, f'{text}\n'.encode())


def plain_metrics(metrics: Mapping) -> dict[str, float | None]:
    """Numbers (Python, NumPy or one-element tensors) as floats, NaN as None."""
    plain = {}
    for name, value in metrics.items():
        value = value.item() if hasattr(value, 'item') else value
        if isinstance(value, Number):
            number = float(cast(float, value))
            plain[name] = number if math.isfinite(number) else None
    return plain
