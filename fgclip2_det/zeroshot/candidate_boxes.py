"""Boxes to choose from: a detector's, or the annotated ones."""

from __future__ import annotations

import os

from fgclip2_det.coco.result_lists import stream_rows


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
    for number, row in enumerate(stream_rows(path, ('image_id', 'bbox'))):
        x, y, width, height = row['bbox']
        if not min(width, height):
            raise ValueError(
                f'{path}: row {number} (from 0): bbox {row["bbox"]} has no area; '
                'correct or remove it'
            )
        box = (x, y, x + width, y + height)
        boxes.setdefault(row['image_id'], {})[box] = None
    return {image_id: list(distinct) for image_id, distinct in boxes.items()}
