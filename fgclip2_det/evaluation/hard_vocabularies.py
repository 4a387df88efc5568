"""FG-OVD for detectors: mAP with vocabularies of hard negatives.

Reference: Bianchi et al., "The devil is in the fine-grained details"
(arXiv:2311.17518), section 4, and the rule of its released evaluation: the detector
sees an image once for every vocabulary (a true caption and n hard negatives); boxes
of one vocabulary go through class-agnostic NMS at IoU 0.5, so that the caption
with the best score stays; then COCO's mAP is taken over the captions that are true of
some object. Objects with fewer than n negatives are left out.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any

import numpy as np

from fgclip2_det.coco.checks import box_fault
from fgclip2_det.coco.fgovd_lines import fgovd_captions, read_fgovd_lines
from fgclip2_det.coco.ground_truths import (
    LEFT_OUT,
    Truths,
    make_truths,
    read_truths_file,
)
from fgclip2_det.coco.result_lists import read_results
from fgclip2_det.coco.results import Results
from fgclip2_det.io.json_stream import stream_list

from .coco_ap import coco_figures, coco_summary
from .common_terms import DEFAULT_NEGATIVES
from .image_boxes import greedy_nms

_NMS_IOU = 0.5
_SHARE = 0.25  # of boxes that fit only as xyxy


@dataclass(frozen=True)
class HardObject:
    """One object and its vocabulary.

    Args:
        image_id, category_id: of the image and of the true caption.
        negatives: category ids of other captions.
        bbox: xywh in pixels.
        size: (w, h) of the image; None where the file does not say.
        texts: caption by category id; empty where the file does not say.
    """

    image_id: int | str
    category_id: int
    negatives: tuple[int, ...]
    bbox: tuple[float, ...]
    size: tuple[int, int] | None
    texts: dict[int, str]


def score_fgovd_map(
    ann_file: str | os.PathLike,
    predictions_file: str | os.PathLike,
    num_negatives: int = DEFAULT_NEGATIVES,
    drop_outside: bool = True,
) -> dict[str, dict]:
    """mAP of a detector with hard-negative vocabularies.

    Args:
        ann_file: a benchmark file of FG-OVD (``1_attributes.json``, ...) or its .jsonl
            form (``h_attributes_llava.jsonl``, ...).
        predictions_file: COCO result list; ``category_id`` is the caption that a box
            got, and ``vocabulary_id`` the true caption of the vocabulary in use.
        num_negatives: n. Of an object's negatives the first n are its vocabulary.
        drop_outside: leave out rows wholly outside their image; they are counted.

    Returns:
        ``{'metrics': {'fgovd/AP': 0 to 1, 'fgovd/AP50': ..., 'fgovd/AP75': ...},
        'counts': ...}``.

    Raises:
        ValueError: naming the first entry or row that is wrong; no object with so many
            negatives.
    """
    objects = read_hard_objects(ann_file, num_negatives)
    every = _read_all(ann_file)
    rows, num_outside = _read_rows(predictions_file, objects, every, drop_outside)
    metrics = hard_vocabulary_ap(objects, rows)
    counts = {
        'objects': len(objects),
        'images': len({one.image_id for one in objects}),
        'captions': len({one.category_id for one in objects}),
        'rows': len(rows),
        'rows_outside': num_outside,
    }
    return {'metrics': metrics, 'counts': counts}


def hard_vocabulary_ap(
    objects: Sequence[HardObject], rows: Sequence[tuple]
) -> dict[str, float]:
    """AP, AP50 and AP75 of ``(image_id, vocabulary_id, category_id, bbox, score)``."""
    truths = _truths(objects)
    units: dict[tuple, list] = {}
    for image_id, vocabulary_id, *detection in rows:
        units.setdefault((image_id, vocabulary_id), []).append(detection)
    kept: list[tuple] = []
    for (image_id, _), detections in units.items():
        labels = np.array([label for label, _, _ in detections])
        boxes = np.array([box for _, box, _ in detections], np.float64).reshape(-1, 4)
        scores = np.array([score for _, _, score in detections], np.float64)
        for row in greedy_nms(boxes, scores, _NMS_IOU, inclusive=False):
            category = truths.category_index.get(int(labels[row]))
            if category is not None:  # captions that are true of nothing have no AP
                image = truths.image_index[image_id]
                kept.append((image, category, boxes[row], scores[row]))
    image, category, boxes, scores = zip(*kept, strict=True) if kept else ((),) * 4
    results = Results(
        np.array(image, np.int32),
        np.array(category, np.int32),
        np.array(boxes, np.float64).reshape(-1, 4),
        np.array(scores, np.float64),
    )
    figures = coco_figures(truths, results, full=False)
    return {f'fgovd/{name}': value for name, value in coco_summary(figures).items()}


def read_hard_objects(
    path: str | os.PathLike, num_negatives: int = DEFAULT_NEGATIVES
) -> list[HardObject]:
    """Objects with at least ``num_negatives`` negatives, cut to so many.

    Raises:
        ValueError: see :func:`score_fgovd_map`.
    """
    if num_negatives < 1:
        raise ValueError(f'num_negatives must be positive, got {num_negatives}')
    entries = _read_all(path)
    objects = [
        HardObject(one.image_id, one.category_id, one.negatives[:num_negatives],
                   one.bbox, one.size, one.texts)
        for one in entries
        if len(one.negatives) >= num_negatives
    ]  # fmt: skip
    if not objects:
        raise ValueError(f'{path} has no object with {num_negatives} negatives')
    return objects


def _read_all(path: str | os.PathLike) -> list[HardObject]:
    return _of_lines(path) if Path(path).suffix == '.jsonl' else _of_json(path)


def _of_lines(path: str | os.PathLike) -> list[HardObject]:
    objects = []
    for title, entry in read_fgovd_lines(path):
        captions = dict(fgovd_captions(title, entry))
        size = entry['width'], entry['height']
        objects.append(_hard_object(entry, size, captions, title))
    return objects


def _of_json(path: str | os.PathLike) -> list[HardObject]:
    coco = read_truths_file(path)
    texts = {i: category['name'] for i, category in coco.categories.items()}
    objects = []
    for annotation in coco.annotations:
        title = f'{path}: annotation {annotation["id"]}'
        ids = [annotation['category_id'], *_negatives(annotation, title)]
        if missing := [i for i in ids if i not in texts]:
            raise ValueError(
                f'{title} names category {missing[0]}, which is not in the file'
            )
        image = coco.images[annotation['image_id']]
        width, height = image.get('width'), image.get('height')
        size = None if width is None or height is None else (width, height)
        objects.append(
            _hard_object(annotation, size, {i: texts[i] for i in ids}, title)
        )
    return objects


def _negatives(annotation: dict, title: str) -> list:
    ids = annotation.get('neg_category_ids', [])
    if not isinstance(ids, list) or not all(isinstance(i, int | str) for i in ids):
        raise ValueError(
            f'{title}: neg_category_ids must be a list of category ids, got '
            f'{short_repr(ids)}; correct it'
        )
    return ids


def _hard_object(
    entry: dict, size: tuple[int, int] | None, texts: dict, title: str
) -> HardObject:
    bbox: Any = entry.get('bbox')
    if fault := box_fault(bbox):
        raise ValueError(f'{title}: {fault}')
    if min(bbox[2:]) == 0:
        raise ValueError(f'{title}: bbox {bbox} has no area; correct or remove it')
    ids = entry['category_id'], entry.get('neg_category_ids', [])
    if not all(isinstance(i, int) for i in (ids[0], *ids[1])):
        raise ValueError(f'{title}: category ids must be whole numbers, got {ids}')
    return HardObject(
        entry['image_id'], ids[0], tuple(ids[1]), tuple(bbox), size, texts
    )


def _truths(objects: Sequence[HardObject]) -> Truths:
    images = sorted({one.image_id for one in objects}, key=str)
    categories = sorted({one.category_id for one in objects})
    image_of = {i: n for n, i in enumerate(images)}
    category_of = {i: n for n, i in enumerate(categories)}
    return make_truths(
        [{'id': i} for i in images],
        [{'id': i, 'name': str(i)} for i in categories],
        [image_of[one.image_id] for one in objects],
        [category_of[one.category_id] for one in objects],
        [one.bbox for one in objects],
    )


def _read_rows(
    path: str | os.PathLike,
    objects: Sequence[HardObject],
    every: Sequence[HardObject],
    drop_outside: bool,
) -> tuple[list[tuple], int]:
    """Rows of the vocabularies that count, and how many lie wholly outside their image.

    Rows of ``every`` other vocabulary are left out. To the reader of result lists each
    vocabulary of an image is an image of its own.
    """
    words: dict[tuple, set] = {}
    for one in objects:
        own = words.setdefault((one.image_id, one.category_id), {one.category_id})
        own.update(one.negatives)
    pairs = [(one.image_id, one.category_id) for one in every]
    known = {pair: _title(*pair) for pair in pairs}
    blocks = _to_vocabularies(path, words, known)
    truths = _vocabularies(objects, every)
    read = read_results(
        path, truths, drop_outside=drop_outside, blocks=blocks, xyxy_share=_SHARE
    )
    columns = read.results
    units = list(words)
    rows = [
        (*units[unit], truths.categories[category]['id'], tuple(bbox), score)
        for unit, category, bbox, score in zip(
            columns.image.tolist(),
            columns.category.tolist(),
            columns.bboxes.tolist(),
            columns.scores.tolist(),
            strict=True,
        )
    ]
    return rows, read.num_outside


def _to_vocabularies(
    path: str | os.PathLike, words: dict[tuple, set], known: dict[tuple, str]
) -> Iterator[list]:
    """Rows with the vocabulary of an image in place of the image."""
    number = 0
    for block in stream_list(path):
        moved = []
        for row in block:
            if isinstance(row, dict) and {'image_id', 'category_id'} <= row.keys():
                fault = _vocabulary_fault(row, words, known)
                if fault:
                    raise ValueError(f'{path}: row {number} (from 0): {fault}')
                unit = row['image_id'], row['vocabulary_id']
                row = row | {'image_id': known[unit]}
            moved.append(row)
            number += 1
        yield moved


def _vocabulary_fault(
    row: dict, words: dict[tuple, set], known: Collection[tuple]
) -> str | None:
    if 'vocabulary_id' not in row:
        return "it has no 'vocabulary_id', the true caption of the vocabulary in use"
    image, vocabulary, label = (
        row[key] for key in ('image_id', 'vocabulary_id', 'category_id')
    )
    if not {type(i) for i in (image, vocabulary, label)} <= {int, float, str}:
        return (
            'image_id, vocabulary_id and category_id must be numbers or strings, got '
            f'{short_repr((image, vocabulary, label))}'
        )
    if (image, vocabulary) not in known:
        return f'no object of image {image} has the true caption {vocabulary}'
    own = words.get((image, vocabulary))  # None: an object with fewer negatives
    if own is not None and label not in own:
        return (
            f'category {label} is not in the vocabulary {vocabulary} of image {image}'
        )
    return None


def _vocabularies(objects: Sequence[HardObject], every: Sequence[HardObject]) -> Truths:
    """Ground truth without boxes: vocabularies as images, captions as categories."""
    sizes = {(one.image_id, one.category_id): one.size for one in objects}
    images = []
    for unit, size in sizes.items():
        width, height = size or (None, None)
        images.append({'id': _title(*unit), 'width': width, 'height': height})
    captions = sorted({i for one in every for i in (one.category_id, *one.negatives)})
    categories = [{'id': i, 'name': str(i)} for i in captions]
    truths = make_truths(images, categories, [], [], [])
    others = {_title(one.image_id, one.category_id): LEFT_OUT for one in every}
    return replace(truths, image_index=others | truths.image_index, category_names={})


def _title(image_id: int | str, vocabulary_id: int | str) -> str:
    return f'{image_id!r} with vocabulary {vocabulary_id!r}'
