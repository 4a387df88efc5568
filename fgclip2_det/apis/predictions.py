"""COCO result lists: read with checks, rescored, written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from fgclip2_det.apis.mmdet_pickle import read_mmdet_pickle
from fgclip2_det.coco.entries import names_of, used_categories, without_roots
from fgclip2_det.coco.result_lists import RowCounts, read_rows, row_score
from fgclip2_det.datasets.class_split import ClassSplit, resolve_classes
from fgclip2_det.datasets.coco_checks import index_entries
from fgclip2_det.evaluation.ground_truths import LEFT_OUT, make_truths
from fgclip2_det.io.text import read_json
from fgclip2_det.models.prediction_rescorer import PredictionRescorer


@dataclass(frozen=True)
class Predictions:
    """Result rows of a COCO file's images.

    Attributes:
        images: entries of the annotation file, by id.
        rows: image id -> its rows as read, in file order; images without rows are
            left out.
        order: image id of each of these rows, in the file's order.
        split: classes in label order.
        counts: of all rows of the file, and of those that were left out.
    """

    images: dict
    rows: dict[int | str, list[dict]]
    order: list[int | str]
    split: ClassSplit
    counts: RowCounts


def read_predictions(
    predictions_file: str | os.PathLike,
    ann_file: str | os.PathLike,
    language: str = 'en',
    novel: Sequence[str] | None = None,
    unpickle: bool = False,
    ids: str = 'id',
    categories: str = 'id',
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
        ids, categories: what ``image_id`` and ``category_id`` are, see
            :class:`.RowKeys`.

    Raises:
        ValueError: what :func:`.read_rows` refuses, naming file and row.
    """
    coco = read_json(ann_file)
    if not isinstance(coco, dict) or not {'images', 'categories'} <= set(coco):
        raise ValueError(f'{ann_file} must hold "images" and "categories"')
    images = index_entries(str(ann_file), 'image', coco['images'])
    index_entries(str(ann_file), 'category', coco['categories'])
    used = used_categories(coco.get('annotations'))
    classes = without_roots(ann_file, coco['categories'], used, novel or ())
    split = resolve_classes(classes, novel=novel, language=language)
    if unpickle:
        label_ids = [category['id'] for category in coco['categories']]
        found = read_mmdet_pickle(predictions_file, label_ids)
    elif Path(predictions_file).suffix in ('.pkl', '.pickle'):
        raise ValueError(
            f'{predictions_file} is a pickle; say that it may be read (--unpickle)'
        )
    else:
        found = None
    truths = make_truths(coco['images'], _classes_of(split, classes), [], [], [])
    left_out = {c['id']: LEFT_OUT for c in coco['categories']}
    truths = replace(
        truths,
        category_index=left_out | truths.category_index,
        category_names={category['id']: names_of(category) for category in classes},
    )
    read = read_rows(predictions_file, truths, ids, categories, found)
    rows: dict = {}
    for row in read.rows:
        rows.setdefault(row['image_id'], []).append(row)
    return Predictions(images, rows, [r['image_id'] for r in read.rows], split, read)


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
        ValueError: naming the image that is missing or cannot be read.
    """
    paths = {i: Path(image_root) / predictions.images[i]['file_name']
             for i in predictions.rows}  # fmt: skip
    missing = [str(path) for path in paths.values() if not path.is_file()]
    if missing:
        raise ValueError(
            f'{len(missing)} of {len(paths)} images are missing, {missing[0]} the '
            f'first; {image_root} must be the folder that file names start from'
        )
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
        [row_score(row) for row in rows],
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
        if 'category_name' in row:
            row['category_name'] = predictions.split.classes[name]
        yield row | {'det_score': det_score}


def _classes_of(split: ClassSplit, categories: Sequence[dict]) -> list[dict]:
    """Entries of the classes that count."""
    counted = set(split.category_ids)
    return [category for category in categories if category['id'] in counted]
