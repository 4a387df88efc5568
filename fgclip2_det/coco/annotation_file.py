"""The one reader of COCO and LVIS annotation files, whole or entry by entry.

Every place that needs such a file reads it here, so that a fault is the same sentence
everywhere. What a place needs besides or does without is an option.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgclip2_det.coco.checks import (
    EntryChecker,
    check_list,
    index_entries,
    note_exchanged_sides,
    outside_fault,
    reference_fault,
)
from fgclip2_det.coco.class_split import ClassSplit, resolve_classes
from fgclip2_det.coco.entries import class_entries
from fgclip2_det.io import InputError
from fgclip2_det.io.collector import collector_paused
from fgclip2_det.io.json_stream import not_an_object, stream_json
from fgclip2_det.io.text import read_json

SECTIONS = ('images', 'annotations', 'categories')
_KINDS: dict[str, str] = {
    'images': 'image',
    'annotations': 'annotation',
    'categories': 'category',
}


@dataclass(frozen=True)
class CocoFile:
    """A checked annotation file.

    Attributes:
        path: of the file, for messages.
        content: all of it, as parsed.
        images, categories: entries by id, in file order; empty if not asked for.
        annotations: entries, in file order; empty if not asked for.
    """

    path: str
    content: dict[str, Any]
    images: dict
    categories: dict
    annotations: list[dict]

    def classes(
        self, asked: Collection[str] = (), counted: Collection = ()
    ) -> list[dict]:
        """Categories that are classes, see :func:`.class_entries`."""
        return class_entries(self.path, self.content, asked, counted)

    def split(
        self,
        classes: Sequence[str] | None = None,
        base: Sequence[str] | None = None,
        novel: Sequence[str] | None = None,
        language: str = 'en',
    ) -> ClassSplit:
        """Classes in label order, see :func:`.resolve_classes`.

        Raises:
            ValueError: as there, naming the file.
        """
        asked = {
            name
            for names in (classes, base, novel)
            for name in (names if isinstance(names, list | tuple) else ())
        }
        try:
            return resolve_classes(self.classes(asked), classes, base, novel, language)
        except ValueError as error:
            raise InputError(f'{self.path}: {error}') from error


@collector_paused()
def read_coco(path: str | os.PathLike, **options: Any) -> CocoFile:
    """Read and check an annotation file, in any encoding of :func:`.read_text`.

    Args:
        path: COCO or LVIS file.
        options: see :func:`parse_coco`.

    Raises:
        ValueError: as there; a file that cannot be read or is not JSON.
    """
    return parse_coco(read_json(path), path, **options)


@collector_paused()
def parse_coco(
    content: object,
    path: str | os.PathLike,
    *,
    sections: Sequence[str] = SECTIONS,
    image_keys: Collection[str] | None = None,
    annotation_keys: Collection[str] | None = None,
    keep_outside: bool = False,
    drop_unlisted: bool = False,
) -> CocoFile:
    """:func:`read_coco` of parsed content.

    Args:
        content: of the file.
        path: for messages.
        sections: those that the file must hold; others are not looked at.
        image_keys, annotation_keys: what each must have besides ``id``; None:
            :data:`.checks.IMAGE_KEYS` and :data:`.checks.ANNOTATION_KEYS`.
        keep_outside: boxes wholly outside their image pass, as in pycocotools. Without
            it, images need ``width`` and ``height``.
        drop_unlisted: leave out annotations of categories that the file does not list,
            as MMDetection's data sets do.

    Raises:
        ValueError: naming the file and the first entry that is wrong.
    """
    path = str(path)
    if not isinstance(content, dict):
        raise InputError(not_an_object(path, content))
    for key in sections:
        check_list(path, key, content.get(key))
    needed = {'images': image_keys, 'annotations': annotation_keys}
    by_id = {
        key: index_entries(path, _KINDS[key], content[key], needed.get(key))
        for key in sections
    }
    images, categories = by_id.get('images'), by_id.get('categories')
    annotations = content['annotations'] if 'annotations' in by_id else []
    if drop_unlisted and categories is not None:
        known = categories
        annotations = [a for a in annotations if a['category_id'] in known]
    _check_references(path, annotations, images, categories)
    if not keep_outside and images is not None:
        _check_places(path, annotations, images)
    return CocoFile(path, content, images or {}, categories or {}, annotations)


def _check_references(
    path: str, annotations: list[dict], images: dict | None, categories: dict | None
) -> None:
    if _are_known(annotations, 'image_id', images) and _are_known(
        annotations, 'category_id', categories
    ):
        return
    for annotation in annotations:
        if fault := reference_fault(annotation, images, categories):
            raise InputError(f'{path}: annotation {annotation["id"]}: {fault}')


def _are_known(annotations: list[dict], key: str, known: dict | None) -> bool:
    return known is None or {a[key] for a in annotations} <= known.keys()


def _check_places(path: str, annotations: list[dict], images: dict) -> None:
    for annotation in annotations:
        image = images[annotation['image_id']]
        if fault := outside_fault(annotation['bbox'], image):
            raise InputError(f'{path}: annotation {annotation["id"]}: {fault}')
    note_exchanged_sides(path, images, annotations)


def stream_coco(
    path: Path | str,
    bar: Callable[[Iterable], Iterable] = iter,
    *,
    sections: Collection[str] = SECTIONS,
    image_keys: Collection[str] = (),
    is_optional: bool = False,
) -> Iterator[tuple[str, bool, Any]]:
    """Pieces of an annotation file of any size, see :func:`.stream_json`.

    Entries are checked as they come and their references at the end, in memory for
    their ids alone: :func:`read_coco` with ``keep_outside``.

    Args:
        path: COCO or LVIS file in UTF-8.
        bar: wraps the pieces, to show progress.
        sections: those that are checked, and that the file must hold.
        image_keys: what images must have besides ``id``.
        is_optional: the file may lack sections.

    Raises:
        ValueError: as :func:`read_coco`; a section that occurs twice.
    """
    references = _References(path)
    needed = {'images': image_keys}
    checkers: dict[str, EntryChecker] = {}
    for key, is_entry, value in bar(stream_json(path)):
        if key in sections:
            if is_entry:
                checkers[key].add(value)
                if key == 'annotations':
                    references.add(value)
            elif key in checkers:
                raise InputError(f'{path} holds {key!r} twice; keep one of them')
            else:
                check_list(path, key, value)
                checkers[key] = EntryChecker(path, _KINDS[key], needed.get(key))
        yield key, is_entry, value
    if not is_optional:
        for key in sections:
            check_list(path, key, [] if key in checkers else None)
    ids = {key: checker.ids for key, checker in checkers.items()}
    references.check(ids.get('images'), ids.get('categories'))


class _References:
    """The first annotation of each image and of each category."""

    def __init__(self, path: object) -> None:
        self.path = path
        self.images: dict = {}
        self.categories: dict = {}

    def add(self, annotation: dict) -> None:
        self.images.setdefault(annotation['image_id'], annotation['id'])
        self.categories.setdefault(annotation['category_id'], annotation['id'])

    def check(self, images: Collection | None, categories: Collection | None) -> None:
        for own, annotation in self.images.items():
            self._raise(reference_fault({'image_id': own}, images, None), annotation)
        for own, annotation in self.categories.items():
            fault = reference_fault({'category_id': own}, None, categories)
            self._raise(fault, annotation)

    def _raise(self, fault: str | None, annotation: int | str) -> None:
        if fault:
            raise InputError(f'{self.path}: annotation {annotation}: {fault}')
