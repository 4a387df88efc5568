"""Conversion of a COCO file's base-class boxes to training records."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from fgclip2_det.coco.checks import (
    annotation_fault,
    index_entries,
    note_exchanged_sides,
)
from fgclip2_det.coco.class_split import category_name
from fgclip2_det.coco.entries import class_entries
from pretrain.data.record_files import LANGUAGE_KEY


def coco_to_records(
    coco: dict,
    language: str,
    novel: Collection[str] = (),
    path: object = 'the COCO file',
) -> Iterator[dict]:
    """One record per image with a box of a base class (spec D.2's form).

    A box's phrase is its category's name. Its hard negatives are the base names that
    differ from it in one word ('white pawn': 'black pawn', 'white king'); the English
    names decide, in every language. Boxes of novel classes are left out and their
    names are written nowhere.

    Args:
        coco: categories with ``name`` (and ``name_zh`` for Chinese), images,
            annotations; crowd boxes are left out.
        language: 'en' or 'zh'.
        novel: names, as in ``name``, that training must not see.
        path: of the file, for messages.

    Raises:
        ValueError: for a novel name that is not a category, a category without a
            name in this language, and, naming the entry, for what
            :func:`.annotation_fault` finds: a box outside its image, for one.
    """
    images = index_entries(str(path), 'image', coco['images'])
    known_ids = index_entries(str(path), 'category', coco['categories'])
    for number, ann in enumerate(coco['annotations']):
        if fault := annotation_fault(ann, images, known_ids):
            title = ann.get('id', f'{number} (from 0)')
            raise ValueError(f'{path}: annotation {title}: {fault}')
    note_exchanged_sides(path, images, coco['annotations'])
    classes = class_entries(path, coco, novel)
    categories = {c['id']: c for c in classes}
    known = {c['name'] for c in categories.values()}
    if unknown := sorted(set(novel) - known):
        raise ValueError(
            f'novel classes {unknown} are not categories; there are {sorted(known)}'
        )
    base = {i: c for i, c in categories.items() if c['name'] not in novel}
    names = {i: _spoken(category_name(c, language)) for i, c in base.items()}
    negatives = {i: [names[k] for k in _one_word_off(i, base)] for i in base}
    boxes: dict[int, list[dict]] = {}
    for ann in coco['annotations']:
        if ann['category_id'] in base and not ann.get('iscrowd'):
            boxes.setdefault(ann['image_id'], []).append(ann)
    for image in coco['images']:
        annotations = boxes.get(image['id'])
        if not annotations:
            continue
        infos = [_box(ann, image, names, negatives) for ann in annotations]
        record = {'f_path': image['file_name'], 'bbox_info': infos}
        yield record | ({LANGUAGE_KEY: True} if language == 'zh' else {})


def _box(ann: dict, image: dict, names: dict, negatives: dict) -> dict:
    x, y, w, h = ann['bbox']
    width, height = image['width'], image['height']
    kind = ann['category_id']
    info = {
        'bbox': [x / width, y / height, (x + w) / width, (y + h) / height],
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
