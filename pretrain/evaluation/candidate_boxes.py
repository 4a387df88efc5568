"""Boxes to choose from: a detector's, or the annotated ones."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path


def read_candidates(path: str | os.PathLike) -> dict[object, list[tuple]]:
    """Boxes of a COCO result list by image; scores and categories play no part.

    Args:
        path: JSON list of ``{image_id, bbox}`` and more, boxes xywh in pixels.

    Returns:
        Image id -> distinct (x1, y1, x2, y2), in file order.

    Raises:
        ValueError: naming the row (from 0) that has no such box, or an unreadable file.
    """
    try:
        rows = json.loads(Path(path).read_text(encoding='utf-8'))
    except OSError as error:
        raise ValueError(f'{path} cannot be read: {error}') from error
    except ValueError as error:
        raise ValueError(f'{path} is no complete json file: {error}') from error
    if not isinstance(rows, list):
        raise ValueError(f'{path} must be a list of rows with image_id and bbox')
    found: dict[object, dict[tuple, None]] = {}
    for number, row in enumerate(rows):
        bbox = row.get('bbox') if isinstance(row, dict) else None
        if not _is_box(bbox) or not isinstance(row.get('image_id'), int | str):
            raise ValueError(
                f'{path}: row {number} (from 0) must have image_id and a bbox x, y, '
                f'width, height with an area, got {row!r:.80}'
            )
        x, y, width, height = bbox
        box = (x, y, x + width, y + height)
        found.setdefault(row['image_id'], {})[box] = None
    return {image_id: list(boxes) for image_id, boxes in found.items()}


def _is_box(bbox: object) -> bool:
    return (
        isinstance(bbox, list)
        and len(bbox) == 4
        and all(type(v) in (int, float) and math.isfinite(v) for v in bbox)
        and min(bbox[2:]) > 0
    )
