"""Categories of an annotation file, and whether their order is that of the labels."""

from __future__ import annotations

import functools
import mmap
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from fgclip2_det.coco.annotation_file import read_coco
from fgclip2_det.coco.checks import index_entries
from fgclip2_det.coco.entries import names_of
from fgclip2_det.coco.names import normalize_name
from fgclip2_det.io import InputError
from fgclip2_det.io.digests import file_state
from fgclip2_det.io.json_stream import value_at

_KEY = re.compile(rb'"categories"\s*:\s*(?=\[)')


def read_categories(path: str | os.PathLike) -> list[dict]:
    """``categories`` of a COCO file, without parsing its annotations.

    The key is searched for, a gigabyte in about a second, and its list decoded alone;
    ``stream_json`` decodes every entry before it and takes twenty times as long. Read
    once for each state of the file.

    Raises:
        ValueError: if the file cannot be read or has no list of categories.
    """
    path = Path(path)
    try:
        state = file_state(path)
        if state is None:  # it may change again within a tick of the clock
            return list(_read.__wrapped__(path, None))
        return list(_read(path, state))
    except OSError as error:
        raise InputError(f'{path} cannot be read ({error})') from error


@functools.lru_cache(maxsize=16)
def _read(path: Path, state: tuple | None) -> tuple[dict, ...]:
    places = []
    if path.stat().st_size:  # an empty file cannot be mapped
        with (
            path.open('rb') as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            places = [match.end() for match in _KEY.finditer(content)]
    if len(places) == 1:  # else an entry has such a key as well
        with suppress(UnicodeDecodeError):
            entries = value_at(path, places[0])
            return tuple(index_entries(path, 'category', entries).values())
    return tuple(read_coco(path, sections=('categories',)).categories.values())


def normal_names(category: Mapping) -> set[str]:
    """Every name of a category, normalised: in both languages, and LVIS's synonyms."""
    names = [*names_of(category), *(category.get('synonyms') or [])]
    return {normalize_name(name) for name in names if isinstance(name, str) and name}


def first_exchange(
    classes: Sequence[str], categories: Sequence[Mapping], complete: bool = False
) -> int | None:
    """The first label whose class is the name of another category, or None.

    A class that no category is named, such as a prompt or a translation, says nothing
    about the order.

    Args:
        classes: C names in label order.
        categories: of label 0, 1, ...
        complete: whether there must be as many categories as classes.
    """
    names = [normal_names(category) for category in categories]
    known = set().union(*names)
    for label, name in enumerate(map(normalize_name, classes)):
        own = names[label] if label < len(names) else set()
        if name not in own and name in known:
            return label
    if complete and len(classes) != len(names):
        return min(len(classes), len(names))
    return None


def describe_orders(
    label: int, classes: Sequence[str], categories: Sequence[Mapping], theirs: str
) -> str:
    """Both orders around their first difference, for an error message.

    Args:
        label: see :func:`first_exchange`.
        classes: names in label order.
        categories: of label 0, 1, ...
        theirs: what has the order of the categories, as it reads in the message.
    """
    names = [str(category.get('name')) for category in categories]
    return (
        f'label {label} is {_name(classes, label)} to the vocabulary, but '
        f'{_name(names, label)} to {theirs}; the orders: {_listed(classes, label)} '
        f'and {_listed(names, label)}'
    )


def _name(names: Sequence[str], label: int) -> str:
    return repr(names[label]) if label < len(names) else 'nothing'


def _listed(names: Sequence[str], label: int) -> str:
    """Four names around ``label``, with their labels."""
    start = max(0, min(label, len(names) - 3) - 1)
    shown = [f'{i} {name!r}' for i, name in enumerate(names)][start : start + 4]
    dots = ['...'] if start + 4 < len(names) else []
    return ', '.join(['...'] * (start > 0) + shown + dots) or 'no name'
