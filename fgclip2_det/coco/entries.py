"""Entries of COCO annotation files: names of images and of categories."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from fgclip2_det.io.notes import say_once

NAME_KEYS = ('name', 'name_en', 'name_zh')
_COCO_HOST = re.compile(
    r'https?://(?:images\.cocodataset|mscoco)\.org/(?:images/)?(.+)'
)


def image_name(image: dict) -> str | None:
    """``file_name`` of an image, or what follows the host in ``coco_url``.

    LVIS v1 has no file names: 'train2017/000000391895.jpg' is its url without the host,
    as MMDetection reads it. None where there is neither.
    """
    if isinstance(image.get('file_name'), str) and image['file_name']:
        return image['file_name']
    url = _COCO_HOST.fullmatch(str(image.get('coco_url') or ''))
    return url[1] if url else None


def file_names(images: Iterable[dict]) -> dict:
    """Image id -> file name, of those that have one."""
    named = {image['id']: image_name(image) for image in images}
    return {image_id: name for image_id, name in named.items() if name}


def names_of(category: Mapping) -> tuple[str, ...]:
    """All names of a category: ``name``, ``name_en`` and ``name_zh``."""
    return tuple(category[key] for key in NAME_KEYS if category.get(key))


def used_categories(annotations: object) -> set:
    """Ids of the categories that occur in annotations."""
    entries = annotations if isinstance(annotations, list) else []
    ids = (e.get('category_id') for e in entries if isinstance(e, dict))
    return {i for i in ids if isinstance(i, int | float | str)}


def without_roots(
    path: object,
    categories: Sequence[dict],
    used: Collection,
    asked: Collection[str] = (),
) -> list[dict]:
    """Categories without those that are not classes, which are logged.

    Roboflow's files begin with a category for the project: it has no boxes, and it is
    the ``supercategory`` of the others or has the same name as one of them.

    Args:
        path: of the file, for the log.
        categories: entries with ``id`` and ``name``, in file order.
        used: ids of the categories that annotations have; empty for a file of results
            alone, where a root is what all others name as their supercategory.
        asked: names that the user lists as classes, which stay.

    Returns:
        The other entries, in their order.
    """
    is_root = _root_check(categories, used)
    roots = [
        category
        for category in categories
        if category.get('id') not in used
        and is_root(category)
        and not _is_asked(category, categories, asked)
    ]
    for category in roots:
        say_once(
            f'{path}: category {category.get("id")!r} ({category.get("name")!r}) has '
            'no box and only groups the others; it is left out'
        )
    return [c for c in categories if not any(c is root for root in roots)]


def class_entries(
    path: object,
    content: Mapping,
    asked: Collection[str] = (),
    counted: Collection = (),
) -> list[dict]:
    """Categories of an annotation file that are classes, see :func:`without_roots`.

    Args:
        path: of the file, for the log.
        content: of the file; 'annotations' may be missing.
        asked: names that the user lists as classes.
        counted: ids of categories that are classes without annotations, too.
    """
    used = used_categories(content.get('annotations')) | set(counted)
    return without_roots(path, content['categories'], used, asked)


def note_equal_names(path: object, categories: Sequence[dict]) -> None:
    """Log categories that have the same name: they count by id."""
    ids: dict = {}
    for category in categories:
        ids.setdefault(category.get('name'), []).append(category['id'])
    for name, own in ids.items():
        if len(own) > 1:
            say_once(
                f'{path}: categories {own} are all named {name!r}; they count as '
                'classes of their own, by id'
            )


def titles_of(categories: Sequence[dict]) -> list[str]:
    """Names, with the id in brackets where several categories have one name."""
    names = [str(category['name']) for category in categories]
    counts = Counter(names)
    return [
        f'{name} (id {category["id"]})' if counts[name] > 1 else name
        for name, category in zip(names, categories, strict=True)
    ]


def _is_asked(
    category: dict, categories: Sequence[dict], asked: Collection[str]
) -> bool:
    """Whether a listed name means this category, and no other can be meant."""
    others = {name for c in categories if c is not category for name in names_of(c)}
    return bool(set(names_of(category)) & set(asked) - others)


def _root_check(categories: Sequence[dict], used: Collection) -> Callable[[dict], bool]:
    """Whether one of the categories, which is not used, groups the others."""
    parents = Counter(
        parent for c in categories if isinstance(parent := c.get('supercategory'), str)
    )
    names = {
        name
        for c in categories
        if c.get('id') in used and isinstance(name := c.get('name'), str)
    }

    def is_root(category: dict) -> bool:
        name, own = category.get('name'), category.get('supercategory')
        if not isinstance(name, str) or len(categories) < 2:
            return False
        children = parents[name] - (own == name)
        if not used:
            return children == len(categories) - 1
        return name in names or children > 0

    return is_root
