"""Which data sets below a data root are complete."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fgclip2_det.coco.annotation_file import stream_coco
from fgclip2_det.coco.entries import image_name
from fgclip2_det.io import InputError
from fgclip2_det.io.json_stream import stream_lines
from fgclip2_det.io.text import read_text

from .layouts import LAYOUTS, Layout


@dataclass(frozen=True)
class DataState:
    """What there is of a data set.

    Args:
        name: a key of ``LAYOUTS``.
        state: 'usable', 'incomplete' or 'missing'.
        detail: what there is, or what is wrong first, in words.
    """

    name: str
    state: str
    detail: str

    def __str__(self) -> str:
        return f'{self.state}: {self.detail}'


def check_root(
    root: Path | str, bar: Callable[[Iterable], Iterable] = iter
) -> list[DataState]:
    """Look for every data set of ``LAYOUTS``.

    Annotation files are read entry by entry; an image counts when its file is there.

    Args:
        root: folder that holds ``coco/``, ``VOCdevkit/`` and so on.
        bar: wraps the layouts, to show progress.

    Raises:
        ValueError: if there is no such folder.
    """
    if not Path(root).is_dir():
        raise InputError(f'there is no folder {root}; give the one that holds coco/')
    return [
        check_layout(root, name, layout) for name, layout in bar(list(LAYOUTS.items()))
    ]


def check_layout(root: Path | str, name: str, layout: Layout) -> DataState:
    """State of one data set; an unreadable annotation file makes it incomplete."""
    path = Path(root) / layout.annotations
    if not path.is_file():
        made = layout.url if 'made by' in layout.url else f'published at {layout.url}'
        return DataState(name, 'missing', f'{layout.annotations}, {made}')
    try:
        names, num_entries, num_classes = _read(path)
    except ValueError as error:
        return DataState(name, 'incomplete', str(error))
    fault = _count_fault(layout, num_entries, num_classes)
    missing = _missing(Path(root), layout, names)
    if missing:
        lacking = (
            f'{len(missing):,} of {len(names):,} images are missing, first {missing[0]}'
        )
        fault = f'{fault}; {lacking}' if fault else lacking
    if fault:
        return DataState(name, 'incomplete', fault)
    summary = f'{len(names):,} images'
    if num_entries != len(names):
        summary += f', {num_entries:,} entries'
    if num_classes is not None:
        summary += f', {num_classes:,} classes'
    return DataState(name, 'usable', summary)


def _read(path: Path) -> tuple[list[str], int, int | None]:
    """Names of the images (each once), number of entries, number of classes."""
    if path.suffix == '.txt':
        lines = read_text(path).splitlines()
        names = [f'{line.split()[0]}.jpg' for line in lines if line.strip()]
        return list(dict.fromkeys(names)), len(names), None
    if path.suffix == '.jsonl':
        names = [record.get('img_path') for _, record in stream_lines(path)]
        return _unique(path, names), len(names), None
    names, num_classes = [], 0
    for key, is_entry, value in stream_coco(path, sections=('images',)):
        if is_entry and key == 'images':
            names.append(image_name(value))
        num_classes += is_entry and key == 'categories'
    return _unique(path, names), len(names), num_classes


def _unique(path: Path, names: list[str | None]) -> list[str]:
    unique: dict[str, None] = {}
    for i, name in enumerate(names):
        if not isinstance(name, str):
            raise InputError(f'{path}: image entry {i} (from 0) has no file name')
        unique[name] = None
    return list(unique)


def _count_fault(layout: Layout, num_entries: int, num_classes: int | None) -> str:
    for what, listed, expected in (
        ('images', num_entries, layout.num_images),
        ('classes', num_classes, layout.num_classes),
    ):
        if None not in (listed, expected) and listed != expected:
            if layout.annotations.endswith('.jsonl'):
                what = 'boxes'
            return f'the file lists {listed:,} {what}, expected {expected:,}'
    return ''


def _missing(root: Path, layout: Layout, names: list[str]) -> list[str]:
    """Images that are in none of the folders.

    A name may start with folders that the layout names already: all of it, its last two
    parts (Objects365 v2: patch0/a.jpg) or its last part are looked for.
    """
    folders = [root / folder for folder in layout.images]
    is_voc = layout.annotations.endswith('.txt')
    missing = []
    for name in names:
        parts = PurePosixPath(name).parts
        tails = {PurePosixPath(*parts[-count:]) for count in (len(parts), 2, 1)}
        if not any(
            os.path.isfile(folder / tail) for folder in folders for tail in tails
        ):
            missing.append(name)
        elif is_voc:
            boxes = folders[0].parent / 'Annotations' / f'{name[:-4]}.xml'
            if not boxes.is_file():
                missing.append(boxes.name)
    return missing
