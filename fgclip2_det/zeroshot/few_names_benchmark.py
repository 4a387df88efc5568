"""Few names on COCO, as a benchmark of encoders."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .benchmark import Benchmark, DataFile, ReadOptions, Task

_COCO = 'https://cocodataset.org/#download'


def _read(files: Mapping[str, Path], options: ReadOptions) -> Task:
    from .few_names import FewNamesOptions, read_few_names  # brings the protocol

    own = FewNamesOptions(**(options.few_names or {}))
    return read_few_names(files['ann'], files['images'], own, options.num_images)


_ONE = Benchmark(
    name='few-names',
    title='COCO val2017, boxes of objects and of background under a few names',
    files={
        'ann': DataFile('coco/annotations/instances_val2017.json', _COCO),
        'images': DataFile('coco/val2017', _COCO),
    },
    expected={'names': 80, 'images': 5_000},
    read=_read,
    source="this project's docs/evaluation.md",
    takes_few_names=True,
)
BENCHMARKS: dict[str, Benchmark] = {_ONE.name: _ONE}
