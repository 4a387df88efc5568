"""Checks of the entries of a COCO annotation file."""

import math
from collections.abc import Sequence
from reprlib import repr as short_repr
from typing import Any

from fgclip2_det.coco.entries import image_name
from fgclip2_det.io.notes import say_once

_FAR = 1.05  # of a side; labelling tools round, and let boxes cross the border a little


def _is_number(value: object) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def _is_id(value: object) -> bool:
    return isinstance(value, str) or _is_number(value)


def _is_side(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_text_or_null(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_flag(value: object) -> bool:
    return _is_number(value) and value in (0, 1)


_EXPECTED = {
    _is_number: 'a finite number',
    _is_id: 'a number or a string',
    _is_side: 'a positive number',
    _is_text: 'a string',
    _is_text_or_null: 'a string',
    _is_flag: '0 or 1',
}
_NEEDED = {
    'image': {
        'id': _is_id,
        'file_name': _is_text,
        'width': _is_side,
        'height': _is_side,
    },
    'category': {'id': _is_id, 'name': _is_text},
    'annotation': {'id': _is_id},
}
_OPTIONAL = {
    'image': {},
    'category': {'name_en': _is_text_or_null, 'name_zh': _is_text_or_null},
    'annotation': {
        'image_id': _is_id,
        'category_id': _is_id,
        'area': _is_number,
        'iscrowd': _is_flag,
    },
}


def index_entries(path: str, kind: str, entries: object) -> dict:
    """Entries of an annotation file by their ids; their types are checked.

    An image without ``file_name`` gets that of its ``coco_url``, as LVIS v1 needs.

    Args:
        path: of the file, for the messages.
        kind: ``'image'``, ``'category'`` or ``'annotation'``.
        entries: what the file holds under the plural of ``kind``.

    Raises:
        ValueError: naming file and entry.
    """
    if not isinstance(entries, list):
        raise ValueError(
            f'{path}: the {kind} entries must be a list, got {short_repr(entries)}; '
            'correct the file'
        )
    needed, checks = _NEEDED[kind], _NEEDED[kind] | _OPTIONAL[kind]
    by_id = {}
    for i, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise ValueError(
                f'{path}: {kind} entry {i} (from 0) must be an object, got '
                f'{short_repr(entry)}; correct or remove it'
            )
        if kind == 'image' and 'file_name' not in entry and (name := image_name(entry)):
            entry['file_name'] = name
        for key, check in checks.items():
            if key not in entry:
                if key in needed:
                    raise ValueError(f'{path}: {kind} {entry} has no {key!r}')
            elif not check(entry[key]):
                raise ValueError(
                    f'{path}: {kind} {short_repr(entry.get("id"))}: {key} must be '
                    f'{_EXPECTED[check]}, got {short_repr(entry[key])}; correct it'
                )
        if entry['id'] in by_id:
            raise ValueError(
                f'{path}: {kind} id {entry["id"]} occurs twice; ids must be unique'
            )
        by_id[entry['id']] = entry
    return by_id


def annotation_fault(annotation: dict, images: dict, categories: dict) -> str | None:
    """What is wrong with an annotation, if anything."""
    if annotation.get('category_id') not in categories:
        return (
            f'category {annotation.get("category_id")!r} is not in the file; '
            'add it to categories or remove the annotation'
        )
    image = images.get(annotation.get('image_id'))
    if image is None:
        return f'image {annotation.get("image_id")!r} is not in the file'
    bbox: Any = annotation.get('bbox')
    if not _is_box(bbox):
        return f'bbox must be x, y, width, height, finite and not negative, got {bbox}'
    x, y, width, height = bbox
    if max(-x - width, -y - height, x - image['width'], y - image['height']) > 0:
        return (
            f'bbox {bbox} lies outside its image of {image["width"]} x '
            f'{image["height"]} pixels; {_remedy(bbox, image)}'
        )
    return None


def has_mask(segmentation: object) -> bool:
    """Whether an annotation's ``segmentation`` covers anything: an RLE, or a polygon of
    three points or more, as MMDetection's ``LoadAnnotations`` counts them."""
    if not isinstance(segmentation, list):
        return bool(segmentation)
    return any(len(p) >= 6 and len(p) % 2 == 0 for p in segmentation)


def _remedy(bbox: list, image: dict) -> str:
    """What to do about a box outside its image.

    Label Studio and others write the size of the file and the boxes of the image as
    it is seen, which a phone's EXIF orientation turns by 90 degrees.
    """
    if fits_exchanged(bbox, image['width'], image['height']):
        return (
            'it fits with width and height exchanged: is that the size before the '
            "image's EXIF orientation? write the upright size"
        )
    return 'correct or remove it'


def note_exchanged_sides(path: object, images: dict, annotations: list[dict]) -> None:
    """Log images whose boxes reach outside but fit with the sides exchanged.

    An image counts when one of its boxes reaches outside it by more than a twentieth of
    a side and all of them fit into the exchanged size.

    Args:
        path: of the file.
        images: id -> entry with ``width`` and ``height``.
        annotations: of these images, checked by :func:`annotation_fault`.
    """
    leaving, fitting = set(), {}
    for annotation in annotations:
        image = images[annotation['image_id']]
        sides, bbox = (image['width'], image['height']), annotation['bbox']
        ends = bbox[0] + bbox[2], bbox[1] + bbox[3]
        if any(end > _FAR * side for end, side in zip(ends, sides, strict=True)):
            leaving.add(image['id'])
        fits = fitting.get(image['id'], True) and fits_exchanged(bbox, *sides)
        fitting[image['id']] = fits
    turned = [i for i in leaving if fitting[i]]
    if turned:
        first = images[min(turned, key=str)]
        say_once(
            f'{path}: boxes of {len(turned)} images, {first["file_name"]} among them, '
            'leave their image but fit with width and height exchanged: are the sizes '
            "those before the images' EXIF orientation? write the upright sizes"
        )


def fits_exchanged(bbox: Sequence[float], width: float, height: float) -> bool:
    """Whether a box xywh lies in an image of exchanged sides, to a pixel."""
    x, y, w, h = bbox
    return min(x, y) >= -1 and x + w <= height + 1 and y + h <= width + 1


def _is_box(bbox: object) -> bool:
    return (
        isinstance(bbox, list)
        and len(bbox) == 4
        and all(_is_number(v) for v in bbox)
        and min(bbox[2:]) >= 0
    )
