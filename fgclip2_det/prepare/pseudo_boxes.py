"""Pseudo boxes for image-level labels, chosen among a detector's results."""

from collections import defaultdict
from pathlib import Path

from fgclip2_det.coco.annotation_file import CocoFile, parse_coco
from fgclip2_det.coco.ground_truths import make_truths
from fgclip2_det.coco.result_lists import read_rows
from fgclip2_det.io import InputError
from fgclip2_det.io.atomic import write_atomic
from fgclip2_det.io.json_writing import check_target, dumps
from fgclip2_det.io.text import read_json

RULES = ('score', 'size')


def write_pseudo_boxes(
    source: Path | str,
    predictions: Path | str,
    target: Path | str,
    rule: str = 'score',
    min_score: float = 0.3,
    ids: str = 'id',
    categories: str = 'id',
) -> dict[str, int]:
    """Give every image-level label one box, and write a COCO file to train with.

    Args:
        source: COCO file whose images have ``labels``, a list of category ids. Its
            annotations, if it has any, stay.
        predictions: COCO result list on these images.
        target: file to write; its new annotations have ``pseudo: 1`` and ``score``.
        rule: 'score', the best box of that category; or 'size', the largest box of the
            image, whatever category it was given.
        min_score: boxes below it are not candidates. A label without a candidate gets
            no box.
        ids, categories: what the rows' ``image_id`` and ``category_id`` are, see
            :class:`.RowKeys`.

    Returns:
        Numbers of ``images``, ``labels``, ``annotations`` (new ones) and ``without``.

    Raises:
        ValueError: naming file and entry: an image without ``labels``, unknown ids, a
            row that is not a result, an unknown rule.

    Reference: Detic (arXiv:2201.02605), section 3.3, max-size loss; here the choice is
    made once, before training.
    """
    if rule not in RULES:
        raise InputError(f'rule must be one of {RULES}, got {rule!r}')
    check_target(source, target)
    content = read_json(source)
    if isinstance(content, dict) and content.get('annotations') is None:
        content = content | {'annotations': []}
    coco = parse_coco(content, source)
    images, known_labels = coco.images, coco.categories
    rows = _candidates(predictions, coco, min_score, ids, categories)
    annotations = list(coco.annotations)
    numbers = (a['id'] for a in annotations if isinstance(a['id'], int))
    next_id = max(numbers, default=0) + 1
    counts = dict(images=len(images), labels=0, annotations=0, without=0)
    for image_id, image in images.items():
        for label in _labels(source, image, known_labels):
            counts['labels'] += 1
            fitting = rows[image_id]
            if rule == 'score':
                fitting = [row for row in fitting if row['category_id'] == label]
            best = max(fitting, key=_area if rule == 'size' else _score, default=None)
            if best is None:
                counts['without'] += 1
                continue
            box = dict(
                id=next_id, image_id=image_id, category_id=label, bbox=best['bbox'],
                area=_area(best), iscrowd=0, pseudo=1, score=best['score'],
            )  # fmt: skip
            annotations.append(box)
            next_id += 1
            counts['annotations'] += 1
    text = dumps(coco.content | {'annotations': annotations})
    write_atomic(target, text.encode())
    return counts


def _area(row: dict) -> float:
    return row['bbox'][2] * row['bbox'][3]


def _score(row: dict) -> float:
    return row['score']


def _labels(source: Path | str, image: dict, categories: dict) -> list:
    labels = image.get('labels')
    if not isinstance(labels, list) or not all(
        isinstance(i, int | str) and i in categories for i in labels
    ):
        raise InputError(
            f"{source}: image {image['id']} needs 'labels', a list of the file's "
            f'category ids, got {labels!r:.60}'
        )
    return list(dict.fromkeys(labels))


def _candidates(
    path: Path | str, coco: CocoFile, min_score: float, ids: str, categories: str
) -> dict:
    """Image id -> rows above the score."""
    truths = make_truths(
        list(coco.images.values()), list(coco.categories.values()), [], [], []
    )
    rows = defaultdict(list)
    for row in read_rows(path, truths, ids, categories).rows:
        if row['score'] >= min_score:
            rows[row['image_id']].append(row)
    return rows
