"""Every row of the suite."""

from importlib import import_module
from importlib.util import find_spec

from tests.hostile.rows import Row

_ANYWHERE = (
    "image", "text", "vocabulary", "prompt", "annotation", "result", "odvg", "model",
    "export", "ranker",
)  # fmt: skip
_WITH_MM = ('record', 'shard', 'state', 'dump', 'command')  # they import mmengine


def all_rows() -> list[Row]:
    """Rows in the order of their files; those of detection where it is installed."""
    names = _ANYWHERE + (_WITH_MM if find_spec('mmdet') else ())
    modules = [import_module(f'tests.hostile.{name}_rows') for name in names]
    return [row for module in modules for row in module.ROWS]
