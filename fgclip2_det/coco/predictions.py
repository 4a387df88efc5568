"""Rows of a result list by image, with the classes of its annotation file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fgclip2_det.coco.annotation_file import read_coco
from fgclip2_det.coco.class_split import ClassSplit
from fgclip2_det.coco.entries import names_of
from fgclip2_det.coco.ground_truths import LEFT_OUT, make_truths
from fgclip2_det.coco.label_order import ids_of_labels
from fgclip2_det.coco.mmdet_pickle import read_mmdet_pickle
from fgclip2_det.coco.result_lists import RowCounts, read_rows
from fgclip2_det.io import InputError


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
    label_order: str | Sequence[str] | Callable | None = None,
    ids: str = 'id',
    categories: str = 'id',
) -> Predictions:
    """Read a COCO result list and the annotation file that it belongs to.

    Args:
        predictions_file: list of ``{image_id, category_id, bbox, score}``, boxes xywh
            in pixels, scores in [0, 1].
        ann_file: COCO file; its images and categories are used, not its annotations.
        language: of the class names.
        novel: novel classes; None: the categories' own ``split``, if all have one.
        unpickle: predictions_file is MMDetection's pickle, see
            :func:`.mmdet_pickle.read_mmdet_pickle`.
        label_order: what the pickle's labels count: 'file' (``CocoDataset``), 'split'
            (base before novel, ``OpenVocabCocoDataset``), 'ov_coco', a function
            of the file's categories, or the names in label order. None: the
            order that is possible, see :func:`.label_order.ids_of_labels`.
        ids, categories: what ``image_id`` and ``category_id`` are, see
            :class:`.RowKeys`.

    Raises:
        ValueError: what :func:`.read_rows` refuses, naming file and row; a pickle whose
            labels may mean several names, with the orders.
    """
    coco = read_coco(ann_file, sections=('images', 'categories'))
    images, categories_of_file = coco.images, list(coco.categories.values())
    classes = coco.classes(novel or ())
    split = coco.split(novel=novel, language=language)
    if unpickle:
        listed = _read_pickle(predictions_file, categories_of_file, split, label_order)
    elif label_order is not None:
        raise InputError(
            'label_order is for a pickle; the rows of a result list have category_id'
        )
    elif Path(predictions_file).suffix in ('.pkl', '.pickle'):
        raise InputError(
            f'{predictions_file} is a pickle; say that it may be read (--unpickle)'
        )
    else:
        listed = None
    truths = make_truths(list(images.values()), _classes_of(split, classes), [], [], [])
    left_out = {c['id']: LEFT_OUT for c in categories_of_file}
    truths = replace(
        truths,
        category_index=left_out | truths.category_index,
        category_names={category['id']: names_of(category) for category in classes},
    )
    read = read_rows(predictions_file, truths, ids, categories, listed)
    rows: dict = {}
    for row in read.rows:
        rows.setdefault(row['image_id'], []).append(row)
    return Predictions(images, rows, [r['image_id'] for r in read.rows], split, read)


def _read_pickle(
    path: str | os.PathLike,
    categories: list[dict],
    split: ClassSplit,
    order: str | Sequence[str] | Callable | None,
) -> list[dict]:
    """Rows of MMDetection's pickle."""
    given: Any = order(categories) if callable(order) else order

    def ids(num_labels: int) -> list[int | str]:
        try:
            return ids_of_labels(categories, split, num_labels, given)
        except ValueError as error:
            raise InputError(f'{path}: {error}') from error

    return read_mmdet_pickle(path, ids)


def _classes_of(split: ClassSplit, categories: Sequence[dict]) -> list[dict]:
    """Entries of the classes that count."""
    counted = set(split.category_ids)
    return [category for category in categories if category['id'] in counted]
