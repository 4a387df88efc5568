"""Results of a benchmark in shards of images, which a stopped run continues.

A folder holds ``run.json``, what was run with which weights, and ``shard-00000.
safetensors`` and so on. A shard has, for all images of it one after another, ``item``
and ``ask`` (n,) int32 (which image of the shard, which question about it), ``label``
(n,) int32 (index into the question's names), ``boxes`` (n, 4) float32 xyxy in pixels
and ``scores`` (n,) float32; and the digest of its run in the metadata.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fgclip2_det.io import InputError
from fgclip2_det.io.atomic import write_atomic
from fgclip2_det.io.digests import json_digest
from fgclip2_det.io.text import check_regular, read_json

HEADER = 'run.json'
_KINDS = {
    'item': np.int32,
    'ask': np.int32,
    'label': np.int32,
    'boxes': np.float32,
    'scores': np.float32,
}


@dataclass(frozen=True)
class Rows:
    """Detections.

    Attributes:
        item: (n,) image of each.
        ask: (n,) question about that image.
        label: (n,) index into the question's names.
        boxes: (n, 4) xyxy in pixels.
        scores: (n,) in [0, 1].
    """

    item: np.ndarray
    ask: np.ndarray
    label: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, rows: np.ndarray) -> Rows:
        """Rows of a mask or of indices."""
        return Rows(*(getattr(self, field.name)[rows] for field in fields(self)))

    def of(self, item: int) -> Rows:
        """Rows of one image, whose rows are in one piece."""
        start, end = np.searchsorted(self.item, [item, item + 1])
        return self.select(np.arange(start, end))


def make_rows(item: int, ask: int, label: Any, boxes: Any, scores: Any) -> Rows:
    """Rows of one question from arrays or lists, which may be empty."""
    scores = np.asarray(scores, np.float32).reshape(-1)
    count = len(scores)
    return Rows(
        np.full(count, item, np.int32),
        np.full(count, ask, np.int32),
        np.asarray(label, np.int32).reshape(-1),
        np.asarray(boxes, np.float32).reshape(-1, 4),
        scores,
    )


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Rows of the parts, one after the other."""
    if not parts:
        return make_rows(0, 0, [], [], [])
    columns = ([getattr(p, f.name) for p in parts] for f in fields(Rows))
    return Rows(*(np.concatenate(column) for column in columns))


def without_repetition(rows: Rows) -> Rows:
    """Each row once; an evaluation refuses a list that says something twice."""
    columns = [rows.item, rows.ask, rows.label, *rows.boxes.T, rows.scores]
    table = np.stack([column.astype(np.float64) for column in columns], 1)
    first = np.unique(table, axis=0, return_index=True)[1]
    return rows if len(first) == len(rows) else rows.select(np.sort(first))


class ShardFolder:
    """The shards of one run.

    Args:
        folder: made when missing.
        header: plain values: what is run on what, with digests. A folder of another
            run is refused.
        num_items: images of the benchmark.
        shard_size: images of a shard; the last may have fewer.

    Raises:
        InputError: the folder is of another run, naming the first value that differs.
    """

    def __init__(
        self, folder: Path, header: Mapping[str, Any], num_items: int, shard_size: int
    ) -> None:
        self.folder, self.num_items, self.shard_size = folder, num_items, shard_size
        self.header = dict(header, num_images=num_items, shard_size=shard_size)
        self._digest = json_digest(self.header)
        path = folder / HEADER
        if path.exists():
            self._check(path)
        elif any(folder.glob('shard-*.safetensors')):
            raise InputError(f'{folder} has shards but no {HEADER}; delete them')
        else:
            text = json.dumps(self.header, indent=1, ensure_ascii=False)
            write_atomic(path, f'{text}\n'.encode())

    def _check(self, path: Path) -> None:
        theirs = read_json(path)
        if not isinstance(theirs, dict):
            raise InputError(f'{path} must hold an object; delete it and its shards')
        for name in dict.fromkeys([*self.header, *theirs]):
            old, new = (_plain(x.get(name)) for x in (theirs, self.header))
            if old != new:
                raise InputError(
                    f'{self.folder} is of another run: {name} is {short_repr(old)} '
                    f'there and {short_repr(new)} now; give another --out, or delete '
                    'that folder'
                )

    @property
    def num_shards(self) -> int:
        """How many files a complete run has."""
        return -(-self.num_items // self.shard_size)

    def items_of(self, number: int) -> range:
        """Images of a shard."""
        start = number * self.shard_size
        return range(start, min(start + self.shard_size, self.num_items))

    def file(self, number: int) -> Path:
        """Where a shard is kept."""
        return self.folder / f'shard-{number:05d}.safetensors'

    def missing(self) -> list[int]:
        """Shards that are not there."""
        return [n for n in range(self.num_shards) if not self.file(n).exists()]

    def write(self, number: int, rows: Rows) -> None:
        """Keep a shard, in one step; ``rows.item`` counts from its first image."""
        arrays = {
            name: np.ascontiguousarray(getattr(rows, name), kind)
            for name, kind in _KINDS.items()
        }
        write_atomic(self.file(number), save(arrays, self._metadata(number)))

    def _metadata(self, number: int) -> dict[str, str]:
        """One entry: safetensors writes several in another order each time."""
        return {'run': f'{self._digest} {number}'}

    def read(self, number: int) -> Rows:
        """A shard.

        Raises:
            InputError: a file that is cut off, of another run or of another place.
        """
        path = self.file(number)
        try:
            check_regular(path)
            with safe_open(path, framework='np') as file:
                metadata = file.metadata() or {}
                rows = Rows(*(file.get_tensor(name) for name in _KINDS))
        except (SafetensorError, OSError, ValueError) as error:
            raise InputError(
                f'{path} is cut off or no shard ({error}); delete it and run again'
            ) from error
        if metadata != self._metadata(number):
            raise InputError(
                f'{path} is of another run, or of another place in it: its settings or '
                'weights were others; delete it and run again'
            )
        self._check_rows(path, rows, number)
        return rows

    def _check_rows(self, path: Path, rows: Rows, number: int) -> None:
        count = len(self.items_of(number))
        arrays = {name: getattr(rows, name) for name in _KINDS}
        shapes = {name: (len(rows),) for name in _KINDS} | {'boxes': (len(rows), 4)}
        if any(
            array.shape != shapes[name] or array.dtype != _KINDS[name]
            for name, array in arrays.items()
        ):
            raise InputError(f'{path} has arrays of other shapes; run again without it')
        possible = ((rows.item >= 0) & (rows.item < count)).all()
        possible &= (np.diff(rows.item) >= 0).all() and np.isfinite(rows.boxes).all()
        if not (possible and ((rows.scores >= 0) & (rows.scores <= 1.001)).all()):
            raise InputError(f'{path} has values that cannot be; run again without it')


def _plain(value: Any) -> Any:
    """A value as JSON gives it back."""
    return json.loads(json.dumps(value))
