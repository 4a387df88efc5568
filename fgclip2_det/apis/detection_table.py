"""A table of detections for a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

MAX_IMAGES = 20  # beyond it, a row per name instead of a row per box
MAX_BOXES = 10  # of an image


def detection_table(images: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Lines of a table: boxes of a few images, or counts of names in many.

    Args:
        images: rows of ``DetectionReport``.
    """
    if len(images) <= MAX_IMAGES:
        yield from _lines(['image', 'name', 'score', 'x1 y1 x2 y2'], _boxes(images))
    else:
        head = ['name', 'images', 'boxes', 'best']
        yield from _lines(head, _counts(images))


def _boxes(images: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    for image in images:
        shown, found = image['image'], image['detections']
        for row in found[:MAX_BOXES]:
            box = ' '.join(f'{value:.0f}' for value in row['bbox'])
            others = [other['name'] for other in row.get('candidates', ())[1:]]
            name = f'{row["name"]} ({", ".join(others)})' if others else row['name']
            yield [shown, name, f'{row["score"]:.2f}', box]
            shown = ''
        if not found:
            yield [shown, 'nothing', '', '']
        if len(found) > MAX_BOXES:
            yield ['', f'and {len(found) - MAX_BOXES} more', '', '']


def _counts(images: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    scores: dict[str, list[float]] = {}
    seen: dict[str, set[int]] = {}
    for i, image in enumerate(images):
        for row in image['detections']:
            scores.setdefault(row['name'], []).append(row['score'])
            seen.setdefault(row['name'], set()).add(i)
    for name in sorted(scores, key=lambda name: -len(scores[name])):
        own = scores[name]
        yield [name, str(len(seen[name])), str(len(own)), f'{max(own):.2f}']
    empty = sum(not image['detections'] for image in images)
    if empty:
        yield ['nothing', str(empty), '', '']


def _lines(head: list[str], rows: Iterator[list[str]]) -> Iterator[str]:
    table = [head, *rows]
    widths = [max(map(_width, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = zip(row, widths, strict=True)
        yield '  '.join(x + ' ' * (width - _width(x)) for x, width in cells).rstrip()


def _width(text: str) -> int:
    """Columns in a terminal: Chinese characters take two."""
    wide = sum(unicodedata.east_asian_width(char) in 'WF' for char in text)
    return len(text) + wide
