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
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from fgclip2_det.coco.fgovd_lines import read_fgovd_lines
from fgclip2_det.coco.ground_truths import Truths, make_truths
from fgclip2_det.coco.result_rows import box_fault, score_fault
from fgclip2_det.coco.results import Results
from fgclip2_det.io.json_stream import stream_list
from fgclip2_det.io.text import read_json

from .coco_ap import coco_figures, coco_summary
from .image_boxes import greedy_nms

_NMS_IOU = 0.5
_MANY, _SHARE = 10, 0.25  # boxes outside of images, from where on they are xyxy


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
    num_negatives: int = 10,
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
    every = {(o.image_id, o.category_id) for o in _read_all(ann_file)}
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
    path: str | os.PathLike, num_negatives: int = 10
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
        try:
            ids = [entry['category_id'], *entry['neg_category_ids']]
            hash((entry['image_id'], *ids))  # all are there, none is a list
        except (KeyError, TypeError) as error:
            raise ValueError(
                f'{title} is not an object of FG-OVD: {error!r}'
            ) from error
        texts = [*entry['pos_expression'], *entry['neg_expression']]
        if len(ids) != len(texts):
            raise ValueError(f'{title} has {len(ids)} ids for {len(texts)} captions')
        captions = dict(zip(ids, texts, strict=True))
        size = entry['width'], entry['height']
        objects.append(_hard_object(entry, size, captions, title))
    return objects


def _of_json(path: str | os.PathLike) -> list[HardObject]:
    content = read_json(path)
    for key in ('images', 'categories', 'annotations'):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise ValueError(f'{path} must hold a list of {key!r}')
    texts = {entry['id']: entry['name'] for entry in content['categories']}
    images = {entry['id']: entry for entry in content['images']}
    objects = []
    for annotation in content['annotations']:
        title = f'{path}: annotation {annotation.get("id")}'
        image = images.get(annotation.get('image_id'))
        if image is None:
            raise ValueError(f'{title} is of an image that is not in the file')
        ids = [annotation.get('category_id'), *annotation.get('neg_category_ids', ())]
        if missing := [i for i in ids if i not in texts]:
            raise ValueError(
                f'{title} names category {missing[0]}, which is not in the file'
            )
        width, height = image.get('width'), image.get('height')
        size = None if width is None or height is None else (width, height)
        objects.append(
            _hard_object(annotation, size, {i: texts[i] for i in ids}, title)
        )
    return objects


def _hard_object(
    entry: dict, size: tuple[int, int] | None, texts: dict, title: str
) -> HardObject:
    bbox = entry.get('bbox')
    if not (isinstance(bbox, list) and len(bbox) == 4 and np.isfinite(bbox).all()
            and min(bbox[2:]) > 0):  # fmt: skip
        raise ValueError(f'{title}: bbox must be x, y, width, height, got {bbox}')
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
    every: set[tuple],
    drop_outside: bool,
) -> tuple[list[tuple], int]:
    """Rows of the vocabularies that count, and how many lie wholly outside their image.

    Rows of ``every`` other vocabulary are left out.
    """
    words: dict[tuple, set] = {}
    sizes = {one.image_id: one.size for one in objects}
    for one in objects:
        own = words.setdefault((one.image_id, one.category_id), {one.category_id})
        own.update(one.negatives)
    rows: dict[tuple, bool] = {}  # row -> whether it is wholly outside its image
    num_crossing = 0
    for number, row in enumerate(chain.from_iterable(stream_list(path))):
        title = f'{path}: row {number} (from 0)'
        keys = ('image_id', 'vocabulary_id', 'category_id', 'bbox', 'score')
        if not isinstance(row, dict) or any(key not in row for key in keys):
            raise ValueError(f'{title} needs {", ".join(keys)}, got {row!r:.80}')
        image, vocabulary, label, bbox, score = (row[key] for key in keys)
        if (image, vocabulary) not in every:
            raise ValueError(
                f'{title}: no object of image {image} has the true caption {vocabulary}'
            )
        if fault := box_fault(bbox) or score_fault(score):
            raise ValueError(f'{title}: {fault}')
        if (image, vocabulary) not in words:
            continue  # an object with fewer negatives
        if label not in words[image, vocabulary]:
            raise ValueError(
                f'{title}: category {label} is not in the vocabulary {vocabulary} of '
                f'image {image}'
            )
        detection = (image, vocabulary, label, tuple(bbox), score)
        if detection in rows:
            raise ValueError(f'{title} occurs twice; remove one')
        rows[detection] = False
        if (size := sizes[image]) is not None:
            x, y, w, h = bbox
            width, height = size
            num_crossing += x + w > 1.02 * width or y + h > 1.02 * height
            rows[detection] = max(x - width, y - height, -x - w, -y - h) > 0
    if num_crossing > max(_MANY, _SHARE * len(rows)):
        raise ValueError(
            f'{path}: {num_crossing} of {len(rows)} boxes reach outside '
            'their images; they look like x1, y1, x2, y2, expected x, y, width, '
            'height'
        )
    kept = [row for row, outside in rows.items() if not (outside and drop_outside)]
    return kept, sum(rows.values())
