"""Conversion of a COCO file's base-class boxes to training records."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator

from fgclip2_det.coco.annotation_file import parse_coco
from fgclip2_det.coco.class_split import category_name
from fgclip2_det.io import InputError
from fgclip2_det.io.notes import say_once
from pretrain.data.record_files import LANGUAGE_KEY
from pretrain.data.records import leads_outside

_MIN_SIDE = 1e-6  # of the image's; training refuses smaller boxes


def coco_to_records(
    coco: dict,
    language: str,
    novel: Collection[str] = (),
    path: str | os.PathLike = 'the COCO file',
    allow_outside: bool = False,
) -> Iterator[dict]:
    """One record per image with a box of a base class (spec D.2's form).

    A box's phrase is its category's name. Its hard negatives are the base names that
    differ from it in one word ('white pawn': 'black pawn', 'white king'); the English
    names decide, in every language. Boxes of novel classes are left out and their
    names are written nowhere.

    Args:
        coco: content of a COCO file: categories with ``name`` (and ``name_zh`` for
            Chinese), images, annotations. Crowd boxes are left out, and so are boxes
            without an area inside their image, which are counted in the log; what a
            box has beyond the border is cut off.
        language: 'en' or 'zh'.
        novel: names, as in ``name``, that training must not see.
        path: of the file, for messages.
        allow_outside: whether file names may leave the folder of the images.

    Raises:
        ValueError: naming the file: what :func:`.parse_coco` refuses, a novel name
            that is not a category, a category without a name in this language.
    """
    parsed = parse_coco(coco, path)
    categories = {c['id']: c for c in parsed.classes(novel)}
    known = {c['name'] for c in categories.values()}
    if unknown := sorted(set(novel) - known, key=str):
        raise InputError(
            f'{path}: novel classes {unknown} are not categories; there are '
            f'{sorted(known)}'
        )
    base = {i: c for i, c in categories.items() if c['name'] not in novel}
    try:
        names = {i: _spoken(category_name(c, language)) for i, c in base.items()}
    except ValueError as error:
        raise InputError(f'{path}: {error}') from error
    negatives = {i: [names[k] for k in _one_word_off(i, base)] for i in base}
    boxes: dict[int | str, list[dict]] = {}
    num_empty = 0
    for ann in parsed.annotations:
        if ann['category_id'] not in base or ann.get('iscrowd'):
            continue
        info = _box(ann, parsed.images[ann['image_id']], names, negatives)
        x1, y1, x2, y2 = info['bbox']
        if x2 - x1 > _MIN_SIDE and y2 - y1 > _MIN_SIDE:
            boxes.setdefault(ann['image_id'], []).append(info)
        else:
            num_empty += 1
    if num_empty:
        say_once(f'{path}: {num_empty} boxes have no area in their image; left out')
    for image in parsed.images.values():
        if not allow_outside and leads_outside(image['file_name']):
            raise InputError(
                f'{path}: image {image["id"]} has the file name '
                f'{image["file_name"]!r:.200}, which leads outside the folder of the '
                'images; correct it, or give --allow-outside if you trust the file'
            )
        infos = boxes.get(image['id'])
        if not infos:
            continue
        record = {'f_path': image['file_name'], 'bbox_info': infos}
        yield record | ({LANGUAGE_KEY: True} if language == 'zh' else {})


def _box(ann: dict, image: dict, names: dict, negatives: dict) -> dict:
    x, y, w, h = ann['bbox']
    width, height = image['width'], image['height']
    kind = ann['category_id']
    corners = [x / width, y / height, (x + w) / width, (y + h) / height]
    info = {
        'bbox': [min(max(corner, 0), 1) for corner in corners],
        'short_expr': names[kind],
    }
    if negatives[kind]:
        texts = {str(i): text for i, text in enumerate(negatives[kind])}
        info |= {'flag_short_neg': 1, 'short_expr_negs': texts}
    return info


def _one_word_off(kind: int, categories: dict[int, dict]) -> list[int]:
    own = _words(categories[kind]['name'])
    return [
        other
        for other, category in categories.items()
        if len(_words(category['name'])) == len(own)
        and sum(a != b for a, b in zip(own, _words(category['name']), strict=True)) == 1
        and len(own) > 1
    ]


def _words(name: str) -> list[str]:
    return re.split(r'[\s_-]+', name.lower().strip())


def _spoken(name: str) -> str:
    """A name with hyphens and underscores replaced by spaces."""
    return re.sub(r'[_-]+', ' ', name).strip()
