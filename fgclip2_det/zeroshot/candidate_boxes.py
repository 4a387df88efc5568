"""Boxes to choose from: a detector's, or the annotated ones."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from reprlib import repr as short_repr

import numpy as np

from fgclip2_det.coco.box_form import BoxForm
from fgclip2_det.coco.result_lists import stream_rows
from fgclip2_det.io import InputError

_XYXY_SHARE = 0.25  # of boxes that fit only as xyxy
Sizes = Mapping[object, tuple[int, int] | None]


def image_sizes(entries: Iterable[Mapping]) -> dict[object, tuple[int, int] | None]:
    """Image id -> (w, h) in pixels, None where an entry has none."""
    sizes: dict[object, tuple[int, int] | None] = {}
    for entry in entries:
        try:
            sizes[entry['id']] = int(entry['width']), int(entry['height'])
        except (KeyError, TypeError, ValueError):
            sizes[entry['id']] = None
    return sizes


def read_candidates(
    path: str | os.PathLike, sizes: Sizes, source: str | os.PathLike
) -> dict[object, list[tuple]]:
    """Boxes of a COCO result list by image; scores and categories play no part.

    Args:
        path: JSON list of ``{image_id, bbox}`` and more, boxes xywh in pixels.
        sizes: of all images that may have boxes, see :func:`image_sizes`.
        source: the annotation file that they are of, for messages.

    Returns:
        Image id -> distinct (x1, y1, x2, y2), in file order.

    Raises:
        ValueError: naming the row (from 0) that has no such box, is of an image that
            the annotation file lacks, or lies wholly outside its image; boxes that
            look like xyxy; an unreadable file.
    """
    boxes: dict[object, dict[tuple, None]] = {}
    for number, row in enumerate(stream_rows(path, ('image_id', 'bbox'))):
        if fault := _fault(row, sizes, source):
            raise InputError(f'{path}: row {number} (from 0): {fault}')
        x, y, width, height = row['bbox']
        box = (x, y, x + width, y + height)
        boxes.setdefault(row['image_id'], {})[box] = None
    _check_form(path, boxes, sizes)
    return {image_id: list(distinct) for image_id, distinct in boxes.items()}


def _fault(row: dict, sizes: Sizes, source: str | os.PathLike) -> str | None:
    image_id, (x, y, width, height) = row['image_id'], row['bbox']
    if image_id not in sizes:
        first = next(iter(sizes), None)
        return (
            f'image {short_repr(image_id)} is not in {source}, whose entries its '
            f'image_id must name, such as {short_repr(first)}; correct or remove it'
        )
    if not min(width, height):
        return f'bbox {row["bbox"]} has no area; correct or remove it'
    size = sizes[image_id]
    if size and (x + width <= 0 or y + height <= 0 or x >= size[0] or y >= size[1]):
        return (
            f'bbox {row["bbox"]} lies outside image {short_repr(image_id)}, {size[0]} '
            f'x {size[1]} pixels; correct or remove it'
        )
    return None


def _check_form(
    path: str | os.PathLike, boxes: Mapping[object, Mapping], sizes: Sizes
) -> None:
    """ValueError if the boxes look like xyxy; they are xyxy by now."""
    form = BoxForm(_XYXY_SHARE)
    for image_id, distinct in boxes.items():
        corners = np.array(list(distinct), np.float64)
        corners[:, 2:] -= corners[:, :2]
        size = sizes[image_id] or (np.nan, np.nan)
        form.look(np.broadcast_to(np.array(size, float), (len(corners), 2)), corners)
    form.check(path)
