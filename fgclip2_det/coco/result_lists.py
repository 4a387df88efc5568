"""COCO result lists: one reader for evaluation, re-scoring and tuning.

Rows of images and of classes that do not count are left out and counted, and so are
rows wholly outside their image, unless an evaluation asks for pycocotools' AP, to which
they are false positives. What remains is kept as given: boxes that reach beyond the
border are clipped by those who pool them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import chain
from typing import Any

import numpy as np

from fgclip2_det.coco.box_form import BoxForm
from fgclip2_det.coco.ground_truths import LEFT_OUT, Truths
from fgclip2_det.coco.masks import encode_mask
from fgclip2_det.coco.result_rows import (
    MAX_SCORE,
    RowKeys,
    are_ids,
    are_numbers,
    row_fault,
)
from fgclip2_det.coco.results import (
    Results,
    find_duplicate,
    join_results,
    no_results,
)
from fgclip2_det.io import InputError
from fgclip2_det.io.collector import collector_paused
from fgclip2_det.io.json_stream import stream_list

_ERRORS = (AttributeError, KeyError, OverflowError, TypeError, ValueError)


@dataclass(frozen=True)
class RowCounts:
    """Counts of the rows of a file.

    Attributes:
        num_rows: all rows of the file.
        num_other_images, num_other_classes: rows of images and of classes that the
            ground truth has but that do not count.
        num_outside: rows wholly outside their image.
        doubts: sentences about ids that look like another tool's numbering.
        outside_kept: whether the rows outside their image are among the results.
    """

    num_rows: int
    num_other_images: int
    num_other_classes: int
    num_outside: int = 0
    doubts: tuple[str, ...] = ()
    outside_kept: bool = False

    def lines(self) -> list[str]:
        """A sentence on each kind of row that was left out, and the doubts."""
        outside = 'wholly outside their image '
        outside += (
            'count as false positives, as in pycocotools'
            if self.outside_kept
            else 'were left out'
        )
        kinds = (
            (self.num_other_images, 'of images that do not count were left out'),
            (self.num_other_classes, 'of classes that do not count were left out'),
            (self.num_outside, outside),
        )
        return [*(f'{n} rows {what}' for n, what in kinds if n), *self.doubts]


@dataclass(frozen=True)
class ReadResults(RowCounts):
    """Counts of a file, and its rows that may count, as columns.

    Attributes:
        results: the rows.
    """

    results: Results = field(default_factory=no_results)


@dataclass(frozen=True)
class ReadRows(RowCounts):
    """Counts of a file, and its rows that count, as dicts.

    Attributes:
        rows: those that count; ids are the annotation file's.
    """

    rows: tuple[dict, ...] = ()


def read_results(
    path: str | os.PathLike,
    truths: Truths,
    iou_types: Sequence[str] = ('bbox',),
    keep: Callable[[Results], np.ndarray] | None = None,
    prune_rows: int = 4_000_000,
    ids: str = 'id',
    categories: str = 'id',
    drop_outside: bool = True,
    blocks: Iterable[list] | None = None,
    xyxy_share: float = 0.5,
) -> ReadResults:
    """Read a result list of any length.

    Args:
        path: JSON list of ``{image_id, category_id, bbox, score}``, boxes xywh in
            pixels, scores in [0, 1], and ``segmentation`` (RLE) for masks.
            ``file_name`` and ``category_name``, where rows have them, must agree with
            the annotation file.
        truths: the ground truth.
        iou_types: 'bbox', 'segm' or both: what the rows must have.
        keep: mask of the rows that may still count; called whenever ``prune_rows``
            new ones were read, so that memory stays bounded.
        prune_rows: see ``keep``.
        ids, categories: what ``image_id`` and ``category_id`` are, see
            :class:`.RowKeys`.
        drop_outside: leave out rows wholly outside their image. pycocotools counts them
            as false positives, and its AP is then lower.
        blocks: rows in place of the file's, many at a time; it is named in messages.
        xyxy_share: of the boxes, beyond which those that reach outside their image but
            fit as xyxy are taken for xyxy.

    Raises:
        ValueError: naming file and row (from 0): truncated files, unknown images or
            classes, boxes, masks or scores that are not possible, names that contradict
            the annotation file, rows that occur twice, boxes that look like xyxy.
    """
    parts: list[Results] = []
    keys = RowKeys(truths, ids, categories)
    tally, pending = _Tally(path, keys, iou_types, drop_outside, xyxy_share), 0
    with collector_paused():
        for _, block, counted in tally.blocks(
            stream_list(path) if blocks is None else blocks
        ):
            parts.append(block.select(counted))
            pending += len(parts[-1])
            if keep and pending >= prune_rows:
                parts = [_pruned(path, parts, truths, keep)]
                pending = 0
    none = no_results('segm' in iou_types)
    parts.append(none)
    results = _pruned(path, parts, truths, keep)
    return ReadResults(**tally.finish(results), results=results)


def read_rows(
    path: str | os.PathLike,
    truths: Truths,
    ids: str = 'id',
    categories: str = 'id',
    rows: list | None = None,
) -> ReadRows:
    """The same rows as :func:`read_results` of boxes, as dicts.

    Args:
        path, truths, ids, categories: see there.
        rows: content of a file that is not JSON; ``path`` is then for messages alone.

    Raises:
        ValueError: as there.
    """
    tally = _Tally(path, RowKeys(truths, ids, categories), ('bbox',), True)
    kept, parts = [], [no_results()]
    with collector_paused():
        for block, columns, counted in tally.blocks(
            stream_list(path) if rows is None else [rows]
        ):
            places = np.flatnonzero(counted)
            parts.append(columns.select(places))
            kept += [
                block[place]
                | {
                    'image_id': truths.images[image]['id'],
                    'category_id': truths.categories[category]['id'],
                }
                for place, image, category in zip(
                    places.tolist(),
                    parts[-1].image.tolist(),
                    parts[-1].category.tolist(),
                    strict=True,
                )
            ]
    results = _pruned(path, parts, truths, None)
    return ReadRows(**tally.finish(results), rows=tuple(kept))


def stream_rows(path: str | os.PathLike, needed: Sequence[str]) -> Iterator[dict]:
    """Rows of a result list whose images need not be known, one after the other.

    Args:
        path: see :func:`read_results`.
        needed: keys that a row must have: image_id, and of bbox and score those that
            are used.

    Raises:
        ValueError: naming file and row (from 0), as :func:`read_results`.
    """
    for number, row in enumerate(chain.from_iterable(stream_list(path))):
        if fault := row_fault(row, None, needed):
            raise InputError(f'{path}: row {number} (from 0): {fault}')
        yield row


def row_score(row: dict) -> float:
    """Score of a row, at most 1: float16 may have rounded it above."""
    return min(row['score'], 1.0)


class _Tally:
    """Blocks of checked rows of a file, and their counts."""

    def __init__(
        self,
        path: str | os.PathLike,
        keys: RowKeys,
        iou_types: Sequence[str],
        drop_outside: bool,
        xyxy_share: float = 0.5,
    ) -> None:
        self.drop_outside = drop_outside
        self.path, self.keys, self.iou_types = path, keys, iou_types
        self.counts, self.num_exchanged = np.zeros(4, np.int64), 0
        self.form = BoxForm(xyxy_share)
        self.needed = ['image_id', 'category_id', 'score']
        self.needed += ['bbox'] * ('bbox' in iou_types)
        self.needed += ['segmentation'] * ('segm' in iou_types)

    def blocks(
        self, blocks: Iterable[list]
    ) -> Iterator[tuple[list, Results, np.ndarray]]:
        """(rows, columns, mask of those that count)."""
        for rows in blocks:
            columns = self._convert(rows)
            other_image = columns.image == LEFT_OUT
            other_class = ~other_image & (columns.category == LEFT_OUT)
            counted = ~other_image & ~other_class
            outside = np.zeros(len(rows), bool)
            if 'bbox' in self.iou_types:
                there = columns.image != LEFT_OUT
                sizes = self.keys.sizes[columns.image[there]]
                self.form.look(sizes, columns.bboxes[there])
                outside = counted & self.keys.outside(columns.image, columns.bboxes)
            if outside.any():
                fits = self.keys.exchanged(columns.image, columns.bboxes)
                turned = ~np.isin(columns.image, columns.image[~fits])
                self.num_exchanged += int((outside & turned).sum())
            kinds = other_image.sum(), other_class.sum(), outside.sum()
            self.counts += len(rows), *kinds
            yield rows, columns, counted & ~(outside & self.drop_outside)

    def finish(self, results: Results) -> dict[str, Any]:
        """Fields of :class:`RowCounts`, once all blocks were read."""
        self.form.check(self.path)
        doubts = self.keys.doubts(results.image, results.category)
        if self.num_exchanged:
            doubts.append(
                f'{self.num_exchanged} of the rows outside their image fit with width '
                'and height exchanged: does the annotation file have the sizes before '
                "the images' EXIF orientation? write the upright sizes"
            )
        values = (*self.counts.tolist(), tuple(doubts), not self.drop_outside)
        names = [field.name for field in fields(RowCounts)]
        return dict(zip(names, values, strict=True))

    def _convert(self, rows: list) -> Results:
        try:
            columns = _columns(rows, self.keys, self.iou_types)
            if _possible(columns).all() and not self._contradict(rows):
                return columns
        except _ERRORS:
            pass  # the loop below says what is wrong with which row
        first = int(self.counts[0])
        for number, row in enumerate(rows, first):
            fault = row_fault(row, self.keys, self.needed) or self._mask_fault(row)
            if fault:
                raise InputError(f'{self.path}: row {number} (from 0): {fault}')
        raise AssertionError(f'rows {first} and on were refused, but each is in order')

    def _contradict(self, rows: list) -> bool:
        named = (row for row in rows if 'file_name' in row or 'category_name' in row)
        return any(self.keys.contradiction(row) for row in named)

    def _mask_fault(self, row: dict) -> str | None:
        try:
            _columns([row], self.keys, self.iou_types)
        except _ERRORS as error:
            return str(error)
        return None


def _pruned(
    path: str | os.PathLike, parts: list[Results], truths: Truths, keep: Callable | None
) -> Results:
    results = join_results(parts)
    twice = find_duplicate(results)
    if twice is not None:
        row = _describe(results, twice, truths)
        raise InputError(
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


def _columns(rows: list, keys: RowKeys, iou_types: Sequence[str]) -> Results:
    images, categories = keys.images, keys.categories
    image = _indices([row['image_id'] for row in rows], images)
    category = _indices([row['category_id'] for row in rows], categories)
    bboxes = np.zeros((len(rows), 4))
    if 'bbox' in iou_types and rows:
        boxes = [row['bbox'] for row in rows]
        if {*map(len, boxes)} != {4}:
            raise InputError('not four numbers')
        bboxes = _numbers([*chain.from_iterable(boxes)]).reshape(-1, 4)
    scores = _numbers([row['score'] for row in rows])
    if 'segm' not in iou_types:
        return Results(image, category, bboxes, scores)
    from pycocotools import mask as mask_utils  # for masks alone

    masks = np.empty(len(rows), object)
    for n, (row, i) in enumerate(zip(rows, image.tolist(), strict=True)):
        if i != LEFT_OUT:
            entry = keys.truths.images[i]
            size = entry.get('height'), entry.get('width')
            masks[n] = encode_mask(row['segmentation'], *size)
    # one by one: a list of more than 255 overflows in pycocotools 2.0.11
    areas = [0 if mask is None else int(mask_utils.area(mask)) for mask in masks]
    areas = np.array(areas, np.float64)
    return Results(image, category, bboxes, scores, areas, masks)


def _indices(ids: list, index: dict) -> np.ndarray:
    if not are_ids(ids):
        raise InputError('not numbers or strings')
    return np.fromiter(map(index.__getitem__, ids), np.int32, len(ids))


def _numbers(values: list) -> np.ndarray:
    if not are_numbers(values):
        raise InputError('not numbers')
    return np.fromiter(values, np.float64, len(values))


def _possible(results: Results) -> np.ndarray:
    """(N,) bool: rows with possible boxes and scores; NaN is not."""
    possible = (results.scores >= 0) & (results.scores <= MAX_SCORE)
    possible &= np.isfinite(results.bboxes).all(1)
    return possible & (results.bboxes[:, 2:] >= 0).all(1)
