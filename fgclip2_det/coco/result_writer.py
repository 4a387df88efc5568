"""Writer of COCO result lists."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from fgclip2_det.io.atomic import write_atomic


def result_rows(
    image_id: int | str,
    bboxes: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    category_ids: Sequence[int | str | None],
) -> Iterator[dict]:
    """Rows of one image: ``image_id``, ``category_id``, ``bbox``, ``score``.

    Args:
        image_id: of the annotation file.
        bboxes: (n, 4) xywh in pixels.
        labels: (n,) int.
        scores: (n,).
        category_ids: of each label; rows of None are left out.
    """
    columns = bboxes.tolist(), labels.tolist(), scores.tolist()
    for bbox, label, score in zip(*columns, strict=True):
        if category_ids[label] is not None:
            yield {
                'image_id': image_id,
                'category_id': category_ids[label],
                'bbox': bbox,
                'score': score,
            }


def write_results(path: str | os.PathLike, rows: Iterable[dict]) -> int:
    """Write a result list atomically; missing folders are created.

    Returns:
        Number of rows.
    """
    rows = list(rows)
    write_atomic(path, json.dumps(rows).encode())
    return len(rows)
