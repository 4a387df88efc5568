"""Ground truth of a COCO or LVIS file in columns of arrays."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, compress
from reprlib import repr as short_repr
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fgclip2_det.coco.annotation_file import CocoFile, parse_coco, read_coco
from fgclip2_det.coco.entries import (
    file_names,
    names_of,
    note_equal_names,
    titles_of,
)
from fgclip2_det.coco.masks import encode_mask
from fgclip2_det.io import InputError
from fgclip2_det.io.collector import collector_paused
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


@collector_paused()
def read_truths(
    path: str | os.PathLike,
    federated: bool = False,
    masks: bool = False,
    image_ids: Collection | None = None,
    category_ids: Collection | None = None,
) -> Truths:
    """Read and check an annotation file.

    Boxes outside their image pass, as in pycocotools, and images need no name or size.

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
    coco = read_truths_file(path)
    return to_truths(coco, federated, masks, image_ids, category_ids)


@collector_paused()
def parse_truths(
    content: object,
    path: str | os.PathLike,
    federated: bool = False,
    masks: bool = False,
    image_ids: Collection | None = None,
    category_ids: Collection | None = None,
) -> Truths:
    """:func:`read_truths` of parsed content; ``path`` is for messages."""
    coco = parse_coco(content, path, image_keys=(), keep_outside=True)
    return to_truths(coco, federated, masks, image_ids, category_ids)


def read_truths_file(path: str | os.PathLike) -> CocoFile:
    """A file for :func:`to_truths`, as :func:`read_truths` reads and checks it."""
    return read_coco(path, image_keys=(), keep_outside=True)


def to_truths(
    coco: CocoFile,
    federated: bool = False,
    masks: bool = False,
    image_ids: Collection | None = None,
    category_ids: Collection | None = None,
) -> Truths:
    """:func:`read_truths` of a file that was read before, with all its sections."""
    path = coco.path
    image_index = _index(path, 'image', coco.images, image_ids)
    classes = coco.classes(counted=category_ids or ())
    note_equal_names(path, classes)
    wanted = [c['id'] for c in classes] if category_ids is None else category_ids
    category_index = _index(path, 'category', coco.categories, wanted)
    if federated:
        _check_federated(coco)
    image = np.array([image_index[e['image_id']] for e in coco.annotations], np.int64)
    category = np.array(
        [category_index[e['category_id']] for e in coco.annotations], np.int64
    )
    counted = (image != LEFT_OUT) & (category != LEFT_OUT)
    entries = list(compress(coco.annotations, counted.tolist()))
    image, category = image[counted], category[counted]
    images = _counted(coco.images.values(), image_index)
    sides = chain.from_iterable(e['bbox'] for e in entries)
    bboxes = np.fromiter(sides, np.float64, 4 * len(entries)).reshape(-1, 4)
    columns: dict[str, Any] = dict(
        images=images,
        categories=_counted(coco.categories.values(), category_index),
        image_index=image_index,
        category_index=category_index,
        image=image,
        category=category,
        bboxes=bboxes,
        areas=_areas(entries, bboxes),
        crowd=np.array([bool(e.get('iscrowd')) for e in entries], bool),
        ignored=np.array([bool(e.get('ignore')) for e in entries], bool),
        masks=_masks(path, entries, image, images) if masks else None,
        file_names=file_names(coco.images.values()),
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
    if isinstance(content, dict) and 'images' in content:
        return list(
            parse_coco(content, path, sections=('images',), image_keys=()).images
        )
    if not isinstance(content, list) or not {type(i) for i in content} <= {int, str}:
        raise InputError(
            f'{path} must be a JSON list of image ids or a COCO file with images'
        )
    return content


def _index(
    path: str | os.PathLike, kind: str, known: Collection, wanted: Collection | None
) -> dict:
    """Id -> place among the wanted ones by rising id, or LEFT_OUT."""
    wanted = set(known if wanted is None else wanted)
    if stray := sorted(wanted - set(known), key=str):
        raise InputError(
            f'{kind} {stray[0]} is asked for but not in {path}; give ids of that file'
        )
    chosen = sorted(wanted)
    return dict.fromkeys(known, LEFT_OUT) | {i: n for n, i in enumerate(chosen)}


def _counted(entries: Iterable[dict], index: dict) -> list[dict]:
    counted = [entry for entry in entries if index[entry['id']] != LEFT_OUT]
    return sorted(counted, key=lambda entry: index[entry['id']])


def _areas(entries: Sequence[dict], bboxes: np.ndarray) -> np.ndarray:
    given = [entry.get('area', np.nan) for entry in entries]
    areas = np.array(given, np.float64)
    return np.where(np.isnan(areas), bboxes[:, 2] * bboxes[:, 3], areas)


def _masks(
    path: str, entries: Sequence[dict], owners: np.ndarray, images: Sequence[dict]
) -> np.ndarray:
    masks = np.empty(len(entries), object)
    for n, (entry, owner) in enumerate(zip(entries, owners.tolist(), strict=True)):
        size = images[owner].get('height'), images[owner].get('width')
        try:
            masks[n] = encode_mask(entry.get('segmentation'), *size)
        except (ValueError, TypeError) as error:
            raise InputError(
                f'{path}: annotation {entry.get("id")}: {error}; masks need a '
                'segmentation in every annotation, and image sizes'
            ) from error
    return masks


def _check_federated(coco: CocoFile) -> None:
    for key in ('neg_category_ids', 'not_exhaustive_category_ids'):
        for image_id, image in coco.images.items():
            if not isinstance(image.get(key), list):
                raise InputError(
                    f'{coco.path}: image {image_id} has no list {key!r}, which LVIS '
                    "needs; give an LVIS file, or use protocol 'coco'"
                )
    for category_id, category in coco.categories.items():
        if category.get('frequency') not in FREQUENCIES:
            raise InputError(
                f'{coco.path}: category {category_id}: frequency must be one of '
                f'{FREQUENCIES}, got {category.get("frequency")!r}; give an LVIS file'
            )


def _pairs(
    path: str | os.PathLike, images: Sequence[dict], key: str, categories: dict
) -> set[int]:
    pairs = set()
    for n, image in enumerate(images):
        for category_id in image[key]:
            if type(category_id) not in (int, str) or category_id not in categories:
                raise InputError(
                    f'{path}: image {image["id"]}: category {short_repr(category_id)} '
                    f'of {key} is not in the file; correct it'
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
