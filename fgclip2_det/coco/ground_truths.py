"""Ground truth of a COCO or LVIS file in columns of arrays."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from reprlib import repr as short_repr
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fgclip2_det.coco.entries import (
    class_entries,
    file_names,
    names_of,
    note_equal_names,
    titles_of,
)
from fgclip2_det.coco.masks import encode_mask
from fgclip2_det.io.text import read_json

FREQUENCIES = ('r', 'c', 'f')
LEFT_OUT = -1  # index of an image or class of the file that does not count


@dataclass(frozen=True)
class Truths:
    """Images, classes and true boxes; rows of boxes are in the file's order.

    Attributes:
        images: entries of the images that count, by rising id: I of them.
        categories: entries of the classes that count, by rising id: K of them.
        image_index: id -> 0 to I - 1, :data:`LEFT_OUT` for the file's other images.
        category_index: the same of the classes.
        image, category: (G,) int64 indices of each box.
        bboxes: (G, 4) float64 xywh in pixels.
        areas: (G,) float64 in pixels: the file's ``area``, else width x height.
        crowd, ignored: (G,) bool, as ``iscrowd`` and ``ignore`` say.
        masks: (G,) RLE objects, or None.
        negative: sorted pair keys (:meth:`keys`) of classes known to be absent.
        not_exhaustive: sorted pair keys of classes that are not labelled in full.
        file_names: id -> file name, of all images of the file that have one.
        category_names: id -> names, of all categories of the file that may count.
    """

    images: list[dict]
    categories: list[dict]
    image_index: dict
    category_index: dict
    image: np.ndarray
    category: np.ndarray
    bboxes: np.ndarray
    areas: np.ndarray
    crowd: np.ndarray
    ignored: np.ndarray
    masks: np.ndarray | None
    negative: np.ndarray
    not_exhaustive: np.ndarray
    file_names: dict = field(default_factory=dict)
    category_names: dict = field(default_factory=dict)

    def keys(self, image: np.ndarray, category: np.ndarray) -> np.ndarray:
        """(n,) int64: one number per pair of class and image, class first."""
        return category.astype(np.int64) * len(self.images) + image

    def select(self, rows: np.ndarray) -> Truths:
        """The same images and classes with some of the boxes."""
        names = ('image', 'category', 'bboxes', 'areas', 'crowd', 'ignored')
        columns = {name: getattr(self, name)[rows] for name in names}
        masks = None if self.masks is None else self.masks[rows]
        return replace(self, **columns, masks=masks)

    def with_classes(self, place: np.ndarray, categories: list[dict]) -> Truths:
        """The boxes of some of the classes, under other indices.

        Args:
            place: (K,) new index of each class, -1 to leave it out.
            categories: entries of the new classes, by index.
        """

        def moved(keys: np.ndarray) -> np.ndarray:
            category, image = np.divmod(keys, max(len(self.images), 1))
            kept = place[category] >= 0
            return np.sort(self.keys(image[kept], place[category[kept]]))

        own = self.select(place[self.category] >= 0)
        return replace(
            own,
            category=place[own.category],
            categories=categories,
            category_index={c['id']: i for i, c in enumerate(categories)},
            negative=moved(self.negative),
            not_exhaustive=moved(self.not_exhaustive),
        )

    @property
    def names(self) -> list[str]:
        """Class names by rising category id, each once (:func:`.titles_of`)."""
        return titles_of(self.categories)


def read_truths(
    path: str | os.PathLike,
    federated: bool = False,
    masks: bool = False,
    image_ids: Collection | None = None,
    category_ids: Collection | None = None,
) -> Truths:
    """Read and check an annotation file.

    Args:
        path: COCO or LVIS file.
        federated: it is an LVIS file: images need ``neg_category_ids`` and
            ``not_exhaustive_category_ids``, categories ``frequency``.
        masks: read ``segmentation`` too (polygons or RLE).
        image_ids: images that count; None: all.
        category_ids: classes that count; None: all.

    Raises:
        ValueError: naming file and the first entry that is wrong.
    """
    content = read_json(path)
    return parse_truths(content, path, federated, masks, image_ids, category_ids)


def parse_truths(
    content: object,
    path: str | os.PathLike,
    federated: bool = False,
    masks: bool = False,
    image_ids: Collection | None = None,
    category_ids: Collection | None = None,
) -> Truths:
    """:func:`read_truths` of parsed content; ``path`` is for messages."""
    for key in ('images', 'categories', 'annotations'):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise ValueError(f'{path} must hold a list of {key!r}; give a COCO file')
    image_index = _index(path, 'image', content['images'], image_ids)
    classes = _classes(path, content, category_ids or ())
    wanted = [c['id'] for c in classes] if category_ids is None else category_ids
    category_index = _index(path, 'category', content['categories'], wanted)
    if federated:
        _check_federated(path, content)
    rows = []
    for entry in content['annotations']:
        image, category = _indices(path, entry, image_index, category_index)
        if LEFT_OUT not in (image, category):
            rows.append((entry, image, category))
    images = _counted(content['images'], image_index)
    entries = [entry for entry, _, _ in rows]
    bboxes = _boxes(path, entries)
    columns: dict[str, Any] = dict(
        images=images,
        categories=_counted(content['categories'], category_index),
        image_index=image_index,
        category_index=category_index,
        image=np.array([image for _, image, _ in rows], np.int64),
        category=np.array([category for _, _, category in rows], np.int64),
        bboxes=bboxes,
        areas=_areas(path, entries, bboxes),
        crowd=np.array([bool(e.get('iscrowd')) for e in entries], bool),
        ignored=np.array([bool(e.get('ignore')) for e in entries], bool),
        masks=_masks(path, rows, images) if masks else None,
        file_names=file_names(content['images']),
        category_names={c['id']: names_of(c) for c in classes},
    )
    for column, key in (
        ('negative', 'neg_category_ids'),
        ('not_exhaustive', 'not_exhaustive_category_ids'),
    ):
        pairs = _pairs(path, images, key, category_index) if federated else []
        columns[column] = np.array(sorted(pairs), np.int64)
    return Truths(**columns)


def read_image_ids(path: str | os.PathLike) -> list:
    """Ids of a JSON list, or of the images of a COCO file (as minival's).

    Raises:
        ValueError: if the file holds neither.
    """
    content = read_json(path)
    if isinstance(content, dict) and isinstance(content.get('images'), list):
        content = [image.get('id') for image in content['images']]
    if not isinstance(content, list) or not all(
        isinstance(i, int | str) for i in content
    ):
        raise ValueError(
            f'{path} must be a JSON list of image ids or a COCO file with images'
        )
    return content


def _index(
    path: str | os.PathLike, kind: str, entries: list, wanted: Collection | None
) -> dict:
    """Id -> place among the wanted ones by rising id, or LEFT_OUT."""
    ids: list[Any] = [e.get('id') if isinstance(e, dict) else None for e in entries]
    if len({type(i) for i in ids} - {int, str}) or len({type(i) for i in ids}) > 1:
        raise ValueError(
            f'{path}: every {kind} needs an "id", all numbers or all strings'
        )
    if len(set(ids)) < len(ids):
        twice = next(i for n, i in enumerate(ids) if i in ids[:n])
        raise ValueError(f'{path}: {kind} id {twice} occurs twice; ids must be unique')
    wanted = set(ids if wanted is None else wanted)
    if wanted - set(ids):
        stray = sorted(wanted - set(ids), key=str)[0]
        raise ValueError(
            f'{kind} {stray} is asked for but not in {path}; give ids of that file'
        )
    chosen = sorted(wanted)
    return dict.fromkeys(ids, LEFT_OUT) | {i: n for n, i in enumerate(chosen)}


def _classes(
    path: str | os.PathLike, content: dict, category_ids: Collection
) -> list[dict]:
    """Categories without a root that is not a class; every one has a name."""
    categories = content['categories']
    _index(path, 'category', categories, None)
    for category in categories:
        if not isinstance(category.get('name'), str) or not category['name'].strip():
            raise ValueError(
                f'{path}: every category needs a name, category {category["id"]} has '
                f'{category.get("name")!r}'
            )
    classes = class_entries(path, content, counted=category_ids)
    note_equal_names(path, classes)
    return classes


def _counted(entries: list[dict], index: dict) -> list[dict]:
    counted = [entry for entry in entries if index[entry['id']] != LEFT_OUT]
    return sorted(counted, key=lambda entry: index[entry['id']])


def _indices(
    path: str | os.PathLike, entry: dict, images: dict, categories: dict
) -> tuple[int, int]:
    try:
        return images[entry['image_id']], categories[entry['category_id']]
    except (KeyError, TypeError) as error:
        raise ValueError(
            f'{path}: annotation {short_repr(entry)}: image_id and category_id must '
            f'be in the file ({error} is not)'
        ) from error


def _boxes(path: str | os.PathLike, entries: Sequence[dict]) -> np.ndarray:
    for entry in entries:
        bbox = entry.get('bbox')
        if not isinstance(bbox, list) or len(bbox) != 4:
            raise ValueError(
                f'{path}: annotation {entry.get("id")}: bbox must be x, y, width, '
                f'height, got {bbox}'
            )
    return np.array([e['bbox'] for e in entries], np.float64).reshape(-1, 4)


def _areas(
    path: str | os.PathLike, entries: Sequence[dict], bboxes: np.ndarray
) -> np.ndarray:
    given = [entry.get('area', np.nan) for entry in entries]
    areas = np.array(given, np.float64)
    areas = np.where(np.isnan(areas), bboxes[:, 2] * bboxes[:, 3], areas)
    bad = ~np.isfinite(np.column_stack([bboxes, areas])).all(1)
    bad |= (bboxes[:, 2:] < 0).any(1)
    if bad.any():
        entry = entries[int(np.argmax(bad))]
        raise ValueError(
            f'{path}: annotation {entry.get("id")}: bbox {entry["bbox"]} (xywh) and '
            'area must be finite, and sizes not negative; correct it'
        )
    return areas


def _masks(
    path: str | os.PathLike, rows: Sequence[tuple], images: Sequence[dict]
) -> np.ndarray:
    masks = np.empty(len(rows), object)
    for n, (entry, image, _) in enumerate(rows):
        size = images[image].get('height'), images[image].get('width')
        try:
            masks[n] = encode_mask(entry.get('segmentation'), *size)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f'{path}: annotation {entry.get("id")}: {error}; masks need a '
                'segmentation in every annotation, and image sizes'
            ) from error
    return masks


def _check_federated(path: str | os.PathLike, content: dict) -> None:
    for key in ('neg_category_ids', 'not_exhaustive_category_ids'):
        for image in content['images']:
            if not isinstance(image.get(key), list):
                raise ValueError(
                    f'{path}: image {image["id"]} has no list {key!r}, which LVIS '
                    "needs; give an LVIS file, or use protocol 'coco'"
                )
    for category in content['categories']:
        if category.get('frequency') not in FREQUENCIES:
            raise ValueError(
                f'{path}: category {category["id"]}: frequency must be one of '
                f'{FREQUENCIES}, got {category.get("frequency")!r}; give an LVIS file'
            )


def _pairs(
    path: str | os.PathLike, images: Sequence[dict], key: str, categories: dict
) -> set[int]:
    pairs = set()
    for n, image in enumerate(images):
        for category_id in image[key]:
            if category_id not in categories:
                raise ValueError(
                    f'{path}: image {image["id"]}: category {category_id} of {key} is '
                    'not in the file'
                )
            pairs.add((categories[category_id], n))
    return {c * len(images) + n for c, n in pairs if c != LEFT_OUT}


def make_truths(
    images: Sequence[dict],
    categories: Sequence[dict],
    image: ArrayLike,
    category: ArrayLike,
    bboxes: ArrayLike,
    crowd: ArrayLike | None = None,
) -> Truths:
    """Ground truth of boxes that a benchmark arranges in its own way.

    Args:
        images, categories: entries with 'id'; categories with 'name'.
        image, category: index into these of each of G boxes.
        bboxes: G boxes, xywh in pixels.
        crowd: (G,) bool, as ``iscrowd``; None: all False.
    """
    boxes = np.array(bboxes, np.float64).reshape(-1, 4)
    none = np.zeros(len(boxes), bool)
    return Truths(
        images=list(images),
        categories=list(categories),
        image_index={entry['id']: i for i, entry in enumerate(images)},
        category_index={entry['id']: i for i, entry in enumerate(categories)},
        image=np.array(image, np.int64),
        category=np.array(category, np.int64),
        bboxes=boxes,
        areas=boxes[:, 2:].prod(1),
        crowd=none if crowd is None else np.array(crowd, bool),
        ignored=none,
        masks=None,
        negative=np.zeros(0, np.int64),
        not_exhaustive=np.zeros(0, np.int64),
        file_names=file_names(images),
        category_names={c['id']: names_of(c) for c in categories},
    )
