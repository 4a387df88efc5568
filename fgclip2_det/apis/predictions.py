"""COCO result lists: read with checks, rescored, written."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short_repr

from tqdm import tqdm

from fgclip2_det.apis.mmdet_pickle import read_mmdet_pickle
from fgclip2_det.apis.result_pictures import find_pictures
from fgclip2_det.datasets.class_split import ClassSplit, resolve_classes
from fgclip2_det.datasets.coco_checks import annotation_fault, index_entries
from fgclip2_det.models.prediction_rescorer import PredictionRescorer


@dataclass(frozen=True)
class Predictions:
    """Result rows of a COCO file's images.

    Attributes:
        images: entries of the annotation file, by id.
        rows: image id -> its rows as read, in file order; images without rows are
            left out.
        order: image id of each row of the file.
        split: classes in label order.
    """

    images: dict
    rows: dict[int | str, list[dict]]
    order: list[int | str]
    split: ClassSplit


def read_predictions(
    predictions_file: str | os.PathLike,
    ann_file: str | os.PathLike,
    language: str = 'en',
    novel: Sequence[str] | None = None,
    unpickle: bool = False,
) -> Predictions:
    """Read a COCO result list and the annotation file that it belongs to.

    Args:
        predictions_file: list of ``{image_id, category_id, bbox, score}``, boxes xywh
            in pixels, scores in [0, 1].
        ann_file: COCO json; its images and categories are used, no annotation.
        language: of the class names.
        novel: novel classes; None: the categories' own ``split``, if all have one.
        unpickle: predictions_file is MMDetection's pickle, see
            :func:`.mmdet_pickle.read_mmdet_pickle`; its labels count the categories
            of ann_file in the file's order.

    Raises:
        ValueError: naming file and row: what is no result list, unknown images and
            categories, boxes and scores that are no finite numbers, boxes outside
            their image, scores outside [0, 1].
    """
    coco = _read_json(ann_file)
    if not isinstance(coco, dict) or not {'images', 'categories'} <= set(coco):
        raise ValueError(f'{ann_file} must hold "images" and "categories"')
    images = index_entries(str(ann_file), 'image', coco['images'])
    index_entries(str(ann_file), 'category', coco['categories'])
    split = resolve_classes(coco['categories'], novel=novel, language=language)
    known = dict.fromkeys(split.category_ids)
    if unpickle:
        ids = [category['id'] for category in coco['categories']]
        found = read_mmdet_pickle(predictions_file, ids)
    elif Path(predictions_file).suffix in ('.pkl', '.pickle'):
        raise ValueError(
            f'{predictions_file} is a pickle; say that it may be read (--unpickle)'
        )
    else:
        found = _read_json(predictions_file)
    if not isinstance(found, list):
        raise ValueError(
            f'{predictions_file} must be a list of results, got {short_repr(found)}'
        )
    rows: dict = {}
    for number, row in enumerate(found):
        fault = _fault(row, images, known)
        if fault:
            raise ValueError(f'{predictions_file}: row {number} (from 0): {fault}')
        rows.setdefault(row['image_id'], []).append(row)
    return Predictions(images, rows, [row['image_id'] for row in found], split)


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
    paths = find_pictures(predictions, image_root, progress)
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
    found = rescorer(
        path,
        [[x, y, x + w, y + h] for x, y, w, h in boxes],
        [row['score'] for row in rows],
        [label[row['category_id']] for row in rows],
    )
    for source, name, score, det_score in zip(
        found.source.tolist(),
        found.labels.tolist(),
        found.scores.tolist(),
        found.det_scores.tolist(),
        strict=True,
    ):
        row = {**rows[source], 'category_id': ids[name], 'score': score}
        yield row | {'det_score': det_score}


def _fault(row: object, images: dict, categories: dict) -> str | None:
    """What is wrong with a row, if anything."""
    if not isinstance(row, dict):
        return f'expected an object, got {short_repr(row)}'
    for key in ('image_id', 'category_id', 'bbox', 'score'):
        if key not in row:
            return f'it has no {key!r}; a row has image_id, category_id, bbox, score'
    for key in ('image_id', 'category_id'):
        if not isinstance(row[key], int | str):
            return f'{key} must be a number or a string, got {short_repr(row[key])}'
    fault = annotation_fault(row, images, categories)
    if fault:
        return fault.replace('annotation', 'row')
    score = row['score']
    number = isinstance(score, int | float) and not isinstance(score, bool)
    if not number or not math.isfinite(score) or not 0 <= score <= 1:
        return f'score must be a probability in [0, 1], got {short_repr(score)}'
    return None


def _read_json(path: str | os.PathLike) -> object:
    try:
        return json.loads(Path(path).read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise ValueError(f'{path} cannot be read as json ({error})') from error
