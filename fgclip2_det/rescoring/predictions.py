"""Re-scoring of result lists."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from fgclip2_det.coco.predictions import Predictions
from fgclip2_det.coco.result_lists import row_score
from fgclip2_det.models.prediction_rescorer import PredictionRescorer
from fgclip2_det.rescoring.result_images import find_images


def rescore_predictions(
    predictions: Predictions,
    image_root: str | os.PathLike,
    rescorer: PredictionRescorer,
    progress: bool = True,
) -> list[dict]:
    """Rows with new scores; the detector's are kept as ``det_score``.

    In mode 'keep' the rows and their order are those of the file. Otherwise images
    come in the order of their first row, and the rows of an image best first.

    Args:
        predictions: see :func:`read_predictions`.
        image_root: folder that the images' file names start from.
        rescorer: has the vocabulary of ``predictions.split``, in its order.
        progress: show a bar on a terminal.

    Raises:
        ValueError: naming the image that is missing, cannot be read or has another
            size than the annotation file says.
    """
    paths = find_images(predictions, image_root, progress)
    bar = tqdm(paths.items(), unit='image', disable=None if progress else True)
    done = {
        image_id: list(_rescore_image(predictions, image_id, path, rescorer))
        for image_id, path in bar
    }
    if rescorer.mode != 'keep':
        return [row for rows in done.values() for row in rows]
    streams = {image_id: iter(rows) for image_id, rows in done.items()}
    return [next(streams[image_id]) for image_id in predictions.order]


def _rescore_image(
    predictions: Predictions,
    image_id: int | str,
    path: Path,
    rescorer: PredictionRescorer,
) -> Iterator[dict]:
    rows, ids = predictions.rows[image_id], predictions.split.category_ids
    label = {category_id: i for i, category_id in enumerate(ids)}
    boxes = [row['bbox'] for row in rows]
    rescored = rescorer(
        path,
        [[x, y, x + w, y + h] for x, y, w, h in boxes],
        [row_score(row) for row in rows],
        [label[row['category_id']] for row in rows],
    )
    for source, name, score, det_score in zip(
        rescored.source.tolist(),
        rescored.labels.tolist(),
        rescored.scores.tolist(),
        rescored.det_scores.tolist(),
        strict=True,
    ):
        row = {**rows[source], 'category_id': ids[name], 'score': score}
        if 'category_name' in row:
            row['category_name'] = predictions.split.classes[name]
        yield row | {'det_score': det_score}
