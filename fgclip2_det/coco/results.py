"""Detections as columns of arrays."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, spreads bits upwards


@dataclass(frozen=True)
class Results:
    """Detections, rows in the file's order.

    Attributes:
        image, category: (N,) int32 indices into the ground truth's images and classes.
        bboxes: (N, 4) float64 xywh in pixels; zeros where only masks were read.
        scores: (N,) float64.
        areas: (N,) float64 in pixels, of the masks; None without masks.
        masks: (N,) RLE objects, or None.
    """

    image: np.ndarray
    category: np.ndarray
    bboxes: np.ndarray
    scores: np.ndarray
    areas: np.ndarray | None = None
    masks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, rows: np.ndarray) -> Results:
        """Rows of a mask or index array."""
        columns: list[Any] = [
            None if column is None else column[rows] for column in self._columns()
        ]
        return Results(*columns)

    def _columns(self) -> list[Any]:
        return [getattr(self, field.name) for field in fields(self)]


def join_results(parts: list[Results]) -> Results:
    """The rows of at least one part, one part after the other; ``parts`` is emptied,
    so that no more than a column is in memory twice."""
    columns = [list(c) for c in zip(*(p._columns() for p in parts), strict=True)]
    parts.clear()
    joined: list[Any] = []
    while columns:
        column = columns.pop(0)
        joined.append(None if column[0] is None else np.concatenate(column))
    return Results(*joined)


def no_results(masks: bool = False) -> Results:
    """Results without rows."""
    none = np.zeros(0, np.int32)
    extra = (np.zeros(0), np.zeros(0, object)) if masks else ()
    return Results(none, none, np.zeros((0, 4)), np.zeros(0), *extra)


def find_duplicate(results: Results) -> int | None:
    """Row that equals another in image, class, box, score and mask, if any."""
    if len(results) < 2:
        return None
    columns = [results.image, results.category, *results.bboxes.T, results.scores]
    hashed = np.zeros(len(results), np.uint64)
    for column in columns:
        bits = column.astype(np.float64).view(np.uint64)
        hashed = (hashed ^ bits ^ (bits >> np.uint64(29))) * _FACTOR
        hashed ^= hashed >> np.uint64(32)
    order = np.argsort(hashed)
    candidates = np.flatnonzero(np.diff(hashed[order]) == 0)
    seen = set()
    for row in order[np.union1d(candidates, candidates + 1)].tolist():
        values = tuple(column[row] for column in columns)
        if results.masks is not None:
            values += (results.masks[row]['counts'],)
        if values in seen:
            return row
        seen.add(values)
    return None
