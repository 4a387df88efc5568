"""Results of an evaluation: percentages with their denominators, and counts."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path

from torch import Tensor

from fgclip2_det.io.atomic import write_atomic
from fgclip2_det.version import __version__

from .metrics import recall_at

_PACKAGES = ('torch', 'numpy', 'pillow', 'tokenizers', 'sentencepiece')


@dataclass
class Report:
    """Collects metrics.

    Args:
        metrics: percent, by flat names such as 'box_top1/novel/zh'.
        denominators: what a percentage is a share of, by the same names; a metric of
            nothing (no novel box) stands here with 0 and not in ``metrics``.
        counts: anything else that was counted.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    denominators: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int | str] = field(default_factory=dict)

    def add(self, name: str, ranks: Tensor, k: int = 1) -> None:
        """Share of ``ranks`` (n,) that are at most k."""
        self.denominators[name] = len(ranks)
        if len(ranks):
            self.metrics[name] = recall_at(ranks, k)

    def to_dict(self) -> dict[str, dict]:
        """``{'metrics': ..., 'denominators': ..., 'counts': ...}``."""
        return asdict(self)


def format_table(result: dict[str, dict]) -> str:
    """Metrics and counts of :meth:`Report.to_dict` as lines of text."""
    shares, counts = result['denominators'], result['counts']
    width = max(map(len, [*shares, *counts, 'metric']))
    lines = [f'{"metric":<{width}}  {"%":>6}  {"of":>7}']
    for name in sorted(shares, key=_table_order):
        percent = result['metrics'].get(name)
        shown = '-' if percent is None else f'{percent:.2f}'
        lines.append(f'{name:<{width}}  {shown:>6}  {shares[name]:>7}')
    lines += [f'{name:<{width}}  {"":>6}  {n:>7}' for name, n in counts.items()]
    return '\n'.join(lines)


def _table_order(name: str) -> tuple[str, int]:
    """R@1, R@5 and R@10 of one thing in this order."""
    title, _, k = name.partition('@')
    return title, int(k or 1)


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    ours = {'python': platform.python_version(), 'fgclip2_det': __version__}
    return ours | {name: importlib.metadata.version(name) for name in _PACKAGES}


def check_writable(path: Path) -> None:
    """ValueError, before hours of work, if ``path`` cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f'{path} cannot be written: {error}') from error
    if path.is_dir():
        raise ValueError(f'{path} is a folder; name a JSON file in it')
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f'{path} cannot be written: no permission in {path.parent}')


def write_json(path: Path, content: dict) -> None:
    """Write JSON atomically."""
    text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
    write_atomic(path, f'{text}\n'.encode())
