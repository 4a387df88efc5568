"""Checks of the entries of a COCO annotation file: one set for every reader."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from reprlib import repr as short_repr
from typing import Any

from fgclip2_det.coco.entries import image_name
from fgclip2_det.io import InputError
from fgclip2_det.io.notes import say_once

IMAGE_KEYS = ('file_name', 'width', 'height')  # what MMDetection's data sets need
ANNOTATION_KEYS = ('image_id', 'category_id', 'bbox')
_PLURALS = {'image': 'images', 'annotation': 'annotations', 'category': 'categories'}
_FAR = 1.05  # of a side; labelling tools round, and let boxes cross the border a little
_LARGEST = 1e150  # of a number: width x height stays finite


def is_number(value: Any) -> bool:
    """Whether a value is a number to calculate with: no truth value, NaN or infinity,
    and no integer that floating point cannot hold."""
    if type(value) not in (int, float) and (
        isinstance(value, bool) or not isinstance(value, int | float)
    ):
        return False
    return -_LARGEST <= value <= _LARGEST


def _is_id(value: object) -> bool:
    return type(value) in (int, str)


def _is_side(value: Any) -> bool:
    return is_number(value) and value > 0


def _is_text(value: object) -> bool:
    return isinstance(value, str) and (value.isascii() or _is_unicode(value))


def _is_name(value: Any) -> bool:
    return _is_text(value) and not value.isspace() and value != ''


def _is_text_or_null(value: object) -> bool:
    return value is None or _is_text(value)


def _are_texts(value: object) -> bool:
    return value is None or (isinstance(value, list) and all(map(_is_text, value)))


def _is_flag(value: object) -> bool:
    return isinstance(value, int | float) and value in (0, 1)


def _is_area(value: Any) -> bool:
    return is_number(value) and value >= 0


def is_box(value: object) -> bool:
    """Whether a value is x, y, width, height, finite and not negative."""
    if not isinstance(value, list | tuple) or len(value) != 4:
        return False
    for number in value:  # is_number without four calls: there are many boxes
        if type(number) not in (int, float) and not is_number(number):
            return False
        if not -_LARGEST <= number <= _LARGEST:
            return False
    return value[2] >= 0 and value[3] >= 0


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


_EXPECTED: dict[Callable, str] = {
    _is_id: 'a whole number or a string',
    _is_side: 'a positive number',
    _is_name: 'a string that is not blank',
    _is_text_or_null: 'a string',
    _are_texts: 'a list of strings',
    _is_flag: '0 or 1',
    _is_area: 'a finite number, not negative',
    is_box: 'x, y, width, height, finite and not negative',
}
_CHECKS: dict[str, dict[str, Callable]] = {
    'image': {
        'id': _is_id,
        'file_name': _is_name,
        'width': _is_side,
        'height': _is_side,
    },
    'category': {
        'id': _is_id,
        'name': _is_name,
        'name_en': _is_text_or_null,
        'name_zh': _is_text_or_null,
        'synonyms': _are_texts,
    },
    'annotation': {
        'id': _is_id,
        'image_id': _is_id,
        'category_id': _is_id,
        'bbox': is_box,
        'area': _is_area,
        'iscrowd': _is_flag,
        'ignore': _is_flag,
    },
}
_NEEDED = {'image': IMAGE_KEYS, 'category': ('name',), 'annotation': ANNOTATION_KEYS}


class EntryChecker:
    """Checks the entries of one section, one after the other.

    Args:
        path: of the file, for the messages.
        kind: ``'image'``, ``'category'`` or ``'annotation'``.
        needed: keys that an entry must have besides ``id``; None: those of
            :data:`IMAGE_KEYS`, ``name`` or :data:`ANNOTATION_KEYS`. A key of an image
            that is not needed may be null, and a side text, as MDETR writes '334'.

    Attributes:
        ids: of the entries so far.
    """

    def __init__(
        self, path: object, kind: str, needed: Collection[str] | None = None
    ) -> None:
        self.path, self.kind = path, kind
        self.needed = ('id', *(_NEEDED[kind] if needed is None else needed))
        self.ids: set = set()
        self._checks = tuple(_CHECKS[kind].items())
        self._id_type: type | None = None

    def add(self, entry: Any) -> None:
        """Check one entry.

        An image without ``file_name`` gets that of its ``coco_url``, as LVIS v1 needs,
        if it is among the needed keys.

        Raises:
            ValueError: naming file and entry: it is not an object, lacks a key, has a
                value of the wrong type or an id that another entry has.
        """
        if not isinstance(entry, dict):
            raise InputError(
                f'{self.path}: {self.kind} entry {len(self.ids)} (from 0) must be an '
                f'object, got {short_repr(entry)}; correct or remove it'
            )
        if 'file_name' in self.needed and 'file_name' not in entry:
            name = image_name(entry)
            if name is not None:
                entry['file_name'] = name
        for key, check in self._checks:
            if key in entry:
                if not check(entry[key]):
                    self._refuse(entry, key, check)
            elif key in self.needed:
                raise InputError(f'{self._title(entry)} has no {key!r}; add it')
        self._add_id(entry['id'])

    def _refuse(self, entry: dict, key: str, check: Callable) -> None:
        value: Any = entry[key]
        if self.kind == 'image' and key not in self.needed:
            digits = isinstance(value, str) and value.isascii() and value.isdecimal()
            if value is None or (check is _is_side and digits and int(value) > 0):
                return
        raise InputError(
            f'{self._title(entry)}: {key} must be {_EXPECTED[check]}, got '
            f'{short_repr(value)}; correct it'
        )

    def _add_id(self, own: int | str) -> None:
        if own in self.ids:
            raise InputError(
                f'{self.path}: {self.kind} id {own} occurs twice; ids must be unique'
            )
        if self.kind != 'annotation' and self.ids and type(own) is not self._id_type:
            other = short_repr(next(iter(self.ids)))
            raise InputError(
                f'{self.path}: {self.kind} ids must be all numbers or all strings, got '
                f'{other} and {short_repr(own)}; write them in one way'
            )
        self._id_type = type(own)
        self.ids.add(own)

    def _title(self, entry: dict) -> str:
        if 'id' in entry:
            return f'{self.path}: {self.kind} {short_repr(entry["id"])}'
        return f'{self.path}: {self.kind} entry {len(self.ids)} (from 0)'


def check_list(path: object, key: str, entries: object) -> None:
    """Check that what an annotation file holds under a key is a list.

    Raises:
        ValueError: naming the file.
    """
    if not isinstance(entries, list):
        raise InputError(
            f'{path} must hold a list of {key!r}, got {short_repr(entries)}; give a '
            'COCO file'
        )


def index_entries(
    path: object, kind: str, entries: Any, needed: Collection[str] | None = None
) -> dict:
    """Entries of a section by their ids, checked.

    Args:
        path, kind, needed: see :class:`EntryChecker`.
        entries: what the file holds under the plural of ``kind``.

    Raises:
        ValueError: naming file and entry.
    """
    check_list(path, _PLURALS[kind], entries)
    checker = EntryChecker(path, kind, needed)
    by_id = {}
    for entry in entries:
        checker.add(entry)
        by_id[entry['id']] = entry
    return by_id


def reference_fault(
    annotation: Mapping, images: Collection | None, categories: Collection | None
) -> str | None:
    """Where an annotation names an image or a category that the file does not have.

    Args:
        images, categories: ids of the file; None: not checked.
    """
    if categories is not None and annotation['category_id'] not in categories:
        return (
            f'category {short_repr(annotation["category_id"])} is not in the file; '
            'add it to categories or remove the annotation'
        )
    if images is not None and annotation['image_id'] not in images:
        return (
            f'image {short_repr(annotation["image_id"])} is not in the file; add it to '
            'images or remove the annotation'
        )
    return None


def box_fault(bbox: Any) -> str | None:
    """What is wrong with a box xywh of an annotation or of a result, if anything."""
    if is_box(bbox):
        return None
    return f'bbox must be {_EXPECTED[is_box]}, got {short_repr(bbox)}; correct it'


def outside_fault(bbox: Sequence[float], image: Mapping) -> str | None:
    """Whether a box xywh has no point in common with its image, and what to do."""
    x, y, width, height = bbox
    if max(-x - width, -y - height, x - image['width'], y - image['height']) <= 0:
        return None
    remedy = 'correct or remove it'
    if fits_exchanged(bbox, image['width'], image['height']):
        # Label Studio and others write the size of the file and the boxes of the
        # upright image, which a phone's EXIF orientation turns by 90 degrees.
        remedy = (
            'it fits with width and height exchanged: is that the size before the '
            "image's EXIF orientation? write the upright size"
        )
    return (
        f'bbox {list(bbox)} lies outside its image of {image["width"]} x '
        f'{image["height"]} pixels; {remedy}'
    )


def annotation_fault(annotation: dict, images: dict, categories: dict) -> str | None:
    """What is wrong with an annotation's references and box, if anything.

    Args:
        annotation: with ``image_id``, ``category_id`` and ``bbox``.
        images: id -> entry with ``width`` and ``height``.
        categories: by id.
    """
    fault = reference_fault(annotation, images, categories)
    fault = fault or box_fault(annotation['bbox'])
    return fault or outside_fault(annotation['bbox'], images[annotation['image_id']])


def has_mask(segmentation: object) -> bool:
    """Whether an annotation's ``segmentation`` covers anything: an RLE, or a polygon of
    three points or more, as MMDetection's ``LoadAnnotations`` counts them."""
    if not isinstance(segmentation, list):
        return bool(segmentation)
    return any(len(p) >= 6 and len(p) % 2 == 0 for p in segmentation)


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
