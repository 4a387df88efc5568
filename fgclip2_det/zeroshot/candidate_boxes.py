"""Boxes to choose from: a detector's, or the annotated ones."""

from __future__ import annotations

import os
from itertools import chain

from fgclip2_det.coco.result_rows import box_fault
from fgclip2_det.io.json_stream import stream_list


def read_candidates(path: str | os.PathLike) -> dict[object, list[tuple]]:
    """Boxes of a COCO result list by image; scores and categories play no part.

    Args:
        path: JSON list of ``{image_id, bbox}`` and more, boxes xywh in pixels.

    Returns:
        Image id -> distinct (x1, y1, x2, y2), in file order.

    Raises:
        ValueError: naming the row (from 0) that has no such box, or an unreadable file.
    """
    boxes: dict[object, dict[tuple, None]] = {}
    for number, row in enumerate(chain.from_iterable(stream_list(path))):
        bbox = row.get('bbox') if isinstance(row, dict) else None
        if (
            bbox is None
            or box_fault(bbox)
            or min(bbox[2:]) == 0
            or not isinstance(row.get('image_id'), int | str)
        ):
            raise ValueError(
                f'{path}: row {number} (from 0) must have image_id and a bbox x, y, '
                f'width, height with an area, got {row!r:.80}'
            )
        x, y, width, height = bbox
        box = (x, y, x + width, y + height)
        boxes.setdefault(row['image_id'], {})[box] = None
    return {image_id: list(distinct) for image_id, distinct in boxes.items()}
