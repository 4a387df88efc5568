"""COCO result lists, read piece by piece into columns of arrays and checked."""

from __future__ import annotations

import gc
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short_repr

import numpy as np

from fgclip2_det.coco.masks import encode_mask

from .ground_truths import LEFT_OUT, Truths
from .results import Results, find_duplicate, join_results, no_results

_PIECE = 1 << 22  # characters read at a time
_LONGEST_ROW = 1 << 26
_BLOCK = 1 << 16  # rows converted at a time
_BETWEEN = re.compile(r'[\s,]*')
_MIN_XYXY_ROWS = 10  # fewer may reach outside their image by chance


@dataclass(frozen=True)
class ReadResults:
    """What a file held.

    Attributes:
        results: the rows that may count.
        num_rows: all rows of the file.
        num_other_images, num_other_classes: rows of images and of classes that the
            ground truth has but that do not count.
    """

    results: Results
    num_rows: int
    num_other_images: int
    num_other_classes: int


def read_results(
    path: str | os.PathLike,
    truths: Truths,
    iou_types: Sequence[str] = ('bbox',),
    keep: Callable[[Results], np.ndarray] | None = None,
    prune_rows: int = 4_000_000,
) -> ReadResults:
    """Read a result list of any length.

    Args:
        path: JSON list of ``{image_id, category_id, bbox, score}``, boxes xywh in
            pixels, scores in [0, 1], and ``segmentation`` (RLE) for masks.
        truths: the ground truth.
        iou_types: 'bbox', 'segm' or both: what the rows must have.
        keep: mask of the rows that may still count; called whenever ``prune_rows``
            new ones were read, so that memory stays bounded.
        prune_rows: see ``keep``.

    Raises:
        ValueError: naming file and row (from 0): truncated files, unknown images or
            classes, boxes or scores that are not possible, rows that occur twice,
            boxes that look like xyxy.
    """
    parts: list[Results] = []
    counts = np.zeros(3, np.int64)  # rows, of other images, of other classes
    pending, shape = 0, _BoxForm(truths)
    with _collector_paused():
        for rows in _blocks(path):
            block = _convert(path, rows, int(counts[0]), truths, iou_types)
            if 'bbox' in iou_types:
                shape.look(block)
            other_image = block.image == LEFT_OUT
            other_class = ~other_image & (block.category == LEFT_OUT)
            counts += len(rows), other_image.sum(), other_class.sum()
            parts.append(block.select(~other_image & ~other_class))
            pending += len(parts[-1])
            if keep and pending >= prune_rows:
                parts = [_pruned(path, parts, truths, keep)]
                pending = 0
    shape.check(path)
    none = no_results('segm' in iou_types)
    results = _pruned(path, [*parts, none], truths, keep)
    return ReadResults(results, *counts.tolist())


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Without garbage collection: rows have no cycles, and looking for some takes
    more than half of the time of reading them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _pruned(
    path: str | os.PathLike, parts: list[Results], truths: Truths, keep: Callable | None
) -> Results:
    results = join_results(parts)
    parts.clear()
    twice = find_duplicate(results)
    if twice is not None:
        row = _describe(results, twice, truths)
        raise ValueError(
            f'{path}: two rows are the same ({row}); every detection must be there '
            'once: look for images that were processed twice'
        )
    return results if keep is None else results.select(keep(results))


def _describe(results: Results, row: int, truths: Truths) -> str:
    return (
        f'image {truths.images[results.image[row]]["id"]}, category '
        f'{truths.categories[results.category[row]]["id"]}, bbox '
        f'{results.bboxes[row].tolist()}, score {results.scores[row]:g}'
    )


def _blocks(path: str | os.PathLike) -> Iterator[list]:
    """Rows of a JSON list, many at a time, without reading the file at once."""
    decoder = json.JSONDecoder()
    with Path(path).open(encoding='utf-8') as file:
        text = file.read(_PIECE).lstrip()
        if not text.startswith('['):
            raise ValueError(
                f'{path} must be a JSON list of results, got {short_repr(text[:40])}'
            )
        at, rows, number = 1, [], 0
        while True:
            at = _BETWEEN.match(text, at).end()
            if text.startswith(']', at):
                break
            try:
                row, at = decoder.raw_decode(text, at)
            except json.JSONDecodeError as error:
                more = file.read(_PIECE)
                if not more or len(text) - at > _LONGEST_ROW:
                    raise ValueError(
                        f'{path}: row {number} (from 0) cannot be read '
                        f'({error.msg}); the file may be cut off: write it again'
                    ) from error
                text, at = text[at:] + more, 0
                continue
            number += 1
            rows.append(row)
            if len(rows) == _BLOCK:
                yield rows
                rows = []
        if (text[at + 1 :] + file.read(_PIECE)).strip():
            raise ValueError(f'{path} has text after its list; write it again')
    yield rows


def _convert(
    path: str | os.PathLike,
    rows: list,
    first: int,
    truths: Truths,
    iou_types: Sequence[str],
) -> Results:
    try:
        results = _columns(rows, truths, iou_types)
        if _possible(results).all():
            return results
    except (KeyError, TypeError, ValueError, AttributeError):
        pass  # the loop below says what is wrong with which row
    for number, row in enumerate(rows, first):
        fault = _fault(row, truths, iou_types)
        if fault:
            raise ValueError(f'{path}: row {number} (from 0): {fault}')
    raise AssertionError(f'rows {first} and on were refused, but each is in order')


def _columns(rows: list, truths: Truths, iou_types: Sequence[str]) -> Results:
    images, categories = truths.image_index, truths.category_index
    image = np.array([images[row['image_id']] for row in rows], np.int32)
    category = np.array([categories[row['category_id']] for row in rows], np.int32)
    bboxes = np.zeros((len(rows), 4))
    if 'bbox' in iou_types and rows:
        bboxes = _numbers([row['bbox'] for row in rows], (len(rows), 4))
    scores = _numbers([row['score'] for row in rows], (len(rows),))
    if 'segm' not in iou_types:
        return Results(image, category, bboxes, scores)
    from pycocotools import mask as mask_utils  # for masks alone

    masks = np.empty(len(rows), object)
    for n, (row, i) in enumerate(zip(rows, image.tolist(), strict=True)):
        if i != LEFT_OUT:
            entry = truths.images[i]
            size = entry.get('height'), entry.get('width')
            masks[n] = encode_mask(row['segmentation'], *size)
    # one by one: a list of more than 255 overflows in pycocotools 2.0.11
    areas = [0 if mask is None else int(mask_utils.area(mask)) for mask in masks]
    areas = np.array(areas, np.float64)
    return Results(image, category, bboxes, scores, areas, masks)


def _numbers(values: list, shape: tuple[int, ...]) -> np.ndarray:
    array = np.array(values if values else np.zeros(shape))
    if array.shape != shape or array.dtype.kind not in 'if':
        raise ValueError('not numbers, or not as many as there must be')
    return array.astype(np.float64)


def _possible(results: Results) -> np.ndarray:
    """(N,) bool; NaN is in no range."""
    found = (results.scores >= 0) & (results.scores <= 1)
    found &= np.isfinite(results.bboxes).all(1)
    return found & (results.bboxes[:, 2:] >= 0).all(1)


def _fault(row: object, truths: Truths, iou_types: Sequence[str]) -> str | None:
    """What is wrong with a row, if anything."""
    keys = ['image_id', 'category_id', 'score']
    keys += ['bbox'] * ('bbox' in iou_types) + ['segmentation'] * ('segm' in iou_types)
    if not isinstance(row, dict):
        return f'expected an object, got {short_repr(row)}'
    missing = [key for key in keys if key not in row]
    if missing:
        return f'it has no {missing[0]!r}; a row has {", ".join(keys)}'
    for key, known in (
        ('image_id', truths.image_index),
        ('category_id', truths.category_index),
    ):
        if not isinstance(row[key], int | str) or row[key] not in known:
            kind = key.removesuffix('_id')
            return (
                f'{kind} {short_repr(row[key])} is not in the annotation file, which '
                f'has {len(known)} ids; give the file that the results belong to'
            )
    try:
        results = _columns([row], truths, iou_types)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        values = ', '.join(f'{key} {short_repr(row[key])}' for key in keys[2:])
        return f'{values}: {error}'
    if not 0 <= results.scores[0] <= 1:
        return f'score must be a probability in [0, 1], got {row["score"]}'
    if not _possible(results)[0]:
        return (
            'bbox must be x, y, width, height, finite and not negative, got '
            f'{row["bbox"]}'
        )
    return None


class _BoxForm:
    """Notices xyxy boxes: as xywh they leave the image, as corners they fit."""

    def __init__(self, truths: Truths) -> None:
        sizes = [(i.get('width'), i.get('height')) for i in truths.images]
        self.sizes = np.array(sizes, np.float64).reshape(-1, 2)  # NaN where not given
        self.suspicious = self.total = 0

    def look(self, results: Results) -> None:
        there = results.image != LEFT_OUT
        sizes, boxes = self.sizes[results.image[there]] + 1, results.bboxes[there]
        start, end = boxes[:, :2], boxes[:, 2:]
        outside = (start + end > sizes).any(1)
        self.suspicious += int((outside & (start <= end).all(1)
                                & (end <= sizes).all(1)).sum())  # fmt: skip
        self.total += len(boxes)

    def check(self, path: str | os.PathLike) -> None:
        if self.total >= _MIN_XYXY_ROWS and self.suspicious > self.total / 2:
            raise ValueError(
                f'{path}: {self.suspicious} of {self.total} boxes reach outside their '
                'image as x, y, width, height but fit as x1, y1, x2, y2; write '
                'x1, y1, x2 - x1, y2 - y1'
            )
