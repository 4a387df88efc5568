"""Large COCO and LVIS files: a scan, and a copy of a part."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fgclip2_det.coco.checks import index_entries
from fgclip2_det.io.json_stream import (
    check_target,
    json_pieces,
    stream_json,
    write_text_pieces,
)

SECTIONS = ('images', 'annotations', 'categories')


@dataclass
class CocoScan:
    """Result of the first pass over a file.

    Attributes:
        categories: entries in file order.
        image_ids: of all images, in file order (the keys).
        images_of_category: category id -> ids of images with a box of it.
        num_annotations: in the file.
    """

    categories: list[dict] = field(default_factory=list)
    image_ids: dict[Any, None] = field(default_factory=dict)
    images_of_category: dict[Any, set] = field(default_factory=lambda: defaultdict(set))
    num_annotations: int = 0


def stream_coco(
    path: Path | str, bar: Callable[[Iterable], Iterable] = iter
) -> Iterator[tuple[str, bool, Any]]:
    """:func:`.stream_json` of a COCO file, whose entries and references are checked.

    ``bar`` may wrap the pieces, to show progress.

    Raises:
        ValueError: naming the file: a section is missing or not a list, an entry is not
            an object or lacks its id (an annotation also the ids of its image and
            category), or an id occurs twice.
    """
    seen: dict[str, set] = {}
    for key, is_entry, value in bar(stream_json(path)):
        if key in SECTIONS:
            if not is_entry and (value != [] or key in seen):
                raise ValueError(f'{path}: {key} must be one list; correct the file')
            ids = seen.setdefault(key, set())
            if is_entry:
                _check_entry(path, key, value, ids)
        yield key, is_entry, value
    for key in SECTIONS:
        if key not in seen:
            raise ValueError(f'{path} is not a COCO file: it has no {key!r}')


def _check_entry(path: Path | str, section: str, entry: object, ids: set) -> None:
    kind = {'categories': 'category'}.get(section, section[:-1])
    if not isinstance(entry, dict):
        raise ValueError(f'{path}: {kind} entry {len(ids)} (from 0) must be an object')
    needed = ('id', 'image_id', 'category_id') if kind == 'annotation' else ('id',)
    for key in needed:
        if not isinstance(entry.get(key), int | str):
            raise ValueError(
                f'{path}: {kind} entry {len(ids)} (from 0) needs a number or a string '
                f'as {key!r}, got {entry.get(key)!r}; correct it'
            )
    if entry['id'] in ids:
        raise ValueError(f'{path}: {kind} id {entry["id"]} occurs twice; correct it')
    ids.add(entry['id'])


def scan_coco(path: Path | str, bar: Callable[[Iterable], Iterable] = iter) -> CocoScan:
    """First pass over a file: categories, ids and which image has which class.

    Raises:
        ValueError: as :func:`stream_coco`, and for a category without a name, an
            annotation of an unknown image or category.
    """
    scan, first = CocoScan(), {}
    for key, is_entry, value in stream_coco(path, bar):
        if not is_entry:
            continue
        if key == 'categories':
            scan.categories.append(value)
        elif key == 'images':
            scan.image_ids[value['id']] = None
        elif key == 'annotations':
            scan.num_annotations += 1
            first.setdefault(('image', value['image_id']), value['id'])
            first.setdefault(('category', value['category_id']), value['id'])
            scan.images_of_category[value['category_id']].add(value['image_id'])
    known = {
        'category': index_entries(str(path), 'category', scan.categories),
        'image': scan.image_ids,
    }
    for (kind, number), annotation in first.items():
        if number not in known[kind]:
            raise ValueError(
                f'{path}: annotation {annotation}: {kind} {number} is not in the file; '
                f'add it or remove the annotation'
            )
    return scan


def write_part(
    source: Path | str,
    target: Path | str,
    change: dict[str, Callable[[dict], dict | None]],
    bar: Callable[[Iterable], Iterable] = iter,
) -> dict[str, int]:
    """Second pass: copy a COCO file in its order, entry by entry.

    Args:
        source: COCO file.
        target: written in full or not at all; may not be ``source``.
        change: section -> function that returns the entry to write, or None to leave
            it out. Other sections and keys are copied as they are.
        bar: as in :func:`stream_coco`.

    Returns:
        Number of entries written of each section.

    Raises:
        ValueError: as :func:`stream_coco`, or if source and target are one file.
    """
    check_target(source, target)
    counts: dict[str, int] = dict.fromkeys(SECTIONS, 0)

    def pieces() -> Iterator[tuple[str, bool, Any]]:
        for key, is_entry, value in stream_coco(source, bar):
            if is_entry and key in change:
                value = change[key](value)
                if value is None:
                    continue
            if is_entry and key in counts:
                counts[key] += 1
            yield key, is_entry, value

    write_text_pieces(target, json_pieces(pieces()))
    return counts
