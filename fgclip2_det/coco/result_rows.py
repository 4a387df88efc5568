"""Checks of the rows of a COCO result list."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from reprlib import repr as short_repr
from typing import Any

import numpy as np

from fgclip2_det.coco.checks import box_fault, is_number
from fgclip2_det.coco.ground_truths import LEFT_OUT, Truths
from fgclip2_det.io import InputError

IMAGE_KEYS = ('id', 'stem')
CATEGORY_KEYS = ('id', 'from-1')
MAX_SCORE = 1 + 2**-10  # float16's next number above 1, which rounding may give
_MAX_DIGITS = 100  # of a file stem that is a number
_ID = int | float | str  # tables write 7 as 7.0


class RowKeys:
    """What the ids of rows mean in an annotation file.

    Args:
        truths: the ground truth of the annotation file.
        ids: 'id': ``image_id`` is the id of an image. 'stem': it is the stem of a file
            name, as text or as a number ('000012.jpg' is 12), as ultralytics writes it.
        categories: 'id': ``category_id`` is the id of a category. 'from-1': it counts
            the categories from 1 by rising id, as ultralytics' class + 1 does.

    Attributes:
        images, categories: value in a row -> index, or :data:`LEFT_OUT`.
        sizes: (I, 2) width and height, NaN where the file has none.

    Raises:
        ValueError: another option, or images that share a stem.
    """

    def __init__(self, truths: Truths, ids: str = 'id', categories: str = 'id') -> None:
        for name, value, known in (
            ('ids', ids, IMAGE_KEYS),
            ('categories', categories, CATEGORY_KEYS),
        ):
            if value not in known:
                raise InputError(f'{name} must be one of {known}, got {value!r}')
        self.truths, self.by_stem = truths, ids == 'stem'
        self.from_one = categories == 'from-1'
        self.stems = _stems(truths)
        self.images, self.categories = truths.image_index, truths.category_index
        if self.by_stem:
            self.images = self._images_by_stem()
        if self.from_one:
            counted = sorted(truths.category_names, key=lambda i: (str(type(i)), i))
            self.categories = {
                n: truths.category_index[i] for n, i in enumerate(counted, 1)
            }
        sizes = [(i.get('width'), i.get('height')) for i in truths.images]
        self.sizes = np.array(sizes, np.float64).reshape(-1, 2)

    def _images_by_stem(self) -> dict:
        twice = next((s for s, ids in self.stems.items() if len(ids) > 1), None)
        if twice is not None:
            raise InputError(
                f'images {self.stems[twice][:2]} share the file stem {twice!r}; rows '
                'must name images by their ids'
            )
        index = self.truths.image_index
        return {stem: index[image_id] for stem, (image_id,) in self.stems.items()}

    def contradiction(self, row: dict) -> str | None:
        """Where ``file_name`` or ``category_name`` of a row are another entry's."""
        image = self.images.get(row['image_id'], LEFT_OUT)
        given = row.get('file_name')
        if image != LEFT_OUT and isinstance(given, str):
            own = self.truths.images[image].get('file_name')
            if isinstance(own, str) and not _same_file(given, own):
                hint = '' if self.by_stem else '; are ids file stems? --ids stem'
                return (
                    f'image {row["image_id"]!r} is {own!r} in the annotation file, the '
                    f'row says {given!r}{hint}'
                )
        category = self.categories.get(row['category_id'], LEFT_OUT)
        given = row.get('category_name')
        if category != LEFT_OUT and isinstance(given, str):
            entry = self.truths.categories[category]
            names = self.truths.category_names.get(entry['id'], ())
            if names and _plain(given) not in map(_plain, names):
                hint = '' if self.from_one else '; do they count? --categories from-1'
                return (
                    f'category {row["category_id"]!r} is {names[0]!r} in the '
                    f'annotation file, the row says {given!r}{hint}, or leave '
                    'category_name out'
                )
        return None

    def unknown(self, row: dict) -> str | None:
        """Fault of an image or a category that the file does not have, or None."""
        image, category = row['image_id'], row['category_id']
        if not _is_id(image) or image not in self.images:
            hint = 'give the file that the results belong to'
            if not self.by_stem and _is_id(image) and image in self.stems:
                hint = 'it is the stem of a file name, which --ids stem reads'
            kind = 'file stem' if self.by_stem else 'image'
            return (
                f'{kind} {short_repr(image)} is not in the annotation file, which has '
                f'{len(self.images)} ids; {hint}'
            )
        if not _is_id(category) or category not in self.categories:
            hint = 'give the file that the results belong to'
            known = sorted(self.truths.category_names, key=str)
            if not self.from_one and known == sorted(range(len(known)), key=str):
                hint = f'--categories from-1 reads 1 to {len(known)}'
            return (
                f'category {short_repr(category)} is not in the annotation file, which '
                f'has {len(self.categories)} ids; {hint}'
            )
        return None

    def outside(self, image: np.ndarray, bboxes: np.ndarray) -> np.ndarray:
        """(N,) bool: boxes xywh without a point in common with their image."""
        is_outside = np.zeros(len(image), bool)
        rows = image != LEFT_OUT
        low, sizes = bboxes[rows, :2], self.sizes[image[rows]]
        high = low + bboxes[rows, 2:]
        outside = (high < 0) | (low > sizes)  # never where there is no size
        is_outside[rows] = outside.any(1)
        return is_outside

    def exchanged(self, image: np.ndarray, bboxes: np.ndarray) -> np.ndarray:
        """(N,) bool: boxes xywh within their image if its sides were exchanged."""
        high = bboxes[:, :2] + bboxes[:, 2:]
        inside = (bboxes[:, :2] >= -1) & (high <= self.sizes[image][:, ::-1] + 1)
        return np.asarray(inside.all(1))

    def doubts(self, images: np.ndarray, categories: np.ndarray) -> list[str]:
        """Sentences about indices that look like another tool's numbering."""
        doubts = []
        own = [self.truths.images[i]['id'] for i in np.unique(images)]
        others = [self.stems.get(i, [i]) for i in own]
        if own and not self.by_stem and _all_strange(own, others):
            number, (other, *_) = own[0], others[0]
            doubts.append(
                f'image {number} of the rows is also the file stem of image {other}; '
                'if the rows name images by file stems, give --ids stem'
            )
        first = self.truths.category_index.get(0, LEFT_OUT)
        silent = first != LEFT_OUT and len(categories) and first not in categories
        if silent and not self.from_one and len(self.truths.categories) > 1:
            name = self.truths.categories[first]['name']
            doubts.append(
                f'no row has category 0 ({name!r}); if the rows count classes from 1, '
                'give --categories from-1'
            )
        return doubts


def score_fault(score: Any) -> str | None:
    """What is wrong with a score, if anything; float16's rounding above 1 is not."""
    if is_number(score) and 0 <= score <= MAX_SCORE:
        return None
    return f'score must be a probability in [0, 1], got {short_repr(score)}'


def are_numbers(values: Iterable) -> bool:
    """Whether all values are numbers; truth values, which arrays take for 0 and 1, are
    not."""
    kinds = {*map(type, values)}
    return all(kind is not bool and issubclass(kind, int | float) for kind in kinds)


def _is_id(value: object) -> bool:
    return isinstance(value, _ID) and not isinstance(value, bool)


def are_ids(values: Iterable) -> bool:
    """Whether no value is a truth value, which dicts take for 0 and 1; what else is no
    id of the file is not found there."""
    return bool not in {*map(type, values)}


def row_fault(row: Any, keys: RowKeys | None, needed: Sequence[str]) -> str | None:
    """What is wrong with a row but for its mask, if anything.

    Args:
        keys: what its ids must be; None: an ``image_id`` of any image.
        needed: keys that it must have: image_id, category_id, and of bbox, score and
            segmentation those that are used.
    """
    if not isinstance(row, dict):
        return f'expected an object, got {short_repr(row)}'
    missing = [key for key in needed if key not in row]
    if missing:
        return f'it has no {missing[0]!r}; a row has {", ".join(needed)}'
    if keys is not None:
        fault = keys.unknown(row) or keys.contradiction(row)
    elif not _is_id(row['image_id']):
        fault = (
            'image_id must be a number or a string, got '
            f'{short_repr(row["image_id"])}; correct it'
        )
    else:
        fault = None
    if not fault and 'bbox' in needed:
        fault = box_fault(row['bbox'])
    if not fault and 'score' in needed:
        fault = score_fault(row['score'])
    return fault


def _stems(truths: Truths) -> dict:
    """File stem, as text and as a number, -> ids of the images."""
    stems: dict = {}
    for image_id, name in truths.file_names.items():
        stem = PurePosixPath(str(name).replace('\\', '/')).stem
        number = stem.isascii() and stem.isdecimal() and len(stem) < _MAX_DIGITS
        for key in (stem, int(stem)) if number else (stem,):
            stems.setdefault(key, []).append(image_id)
    return stems


def _all_strange(own: list, others: list[list]) -> bool:
    """Whether each id is a stem, and always of other images."""
    return all(i not in ids for i, ids in zip(own, others, strict=True))


def _same_file(given: str, own: str) -> bool:
    """Whether two paths end alike; one may have more folders than the other."""
    parts = [path.replace('\\', '/').strip('/').split('/') for path in (given, own)]
    count = min(map(len, parts))
    return parts[0][-count:] == parts[1][-count:]


def _plain(name: str) -> str:
    return ' '.join(name.replace('_', ' ').lower().split())
