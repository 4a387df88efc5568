"""Splits that a YOLO set says it has: in a ``data.yaml``, in Darknet's ``obj.data``, in
lists of images beside the class names, or by its folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fgclip2_det.io import InputError
from fgclip2_det.io.text import read_text
from fgclip2_det.prepare.yolo import SUFFIXES

from .findings import Findings
from .image_files import ImageFiles, walk
from .records import split_of_folder

_KEYS = {'train': 'train', 'val': 'val', 'valid': 'val', 'test': 'test'}
_LARGEST = 65536  # bytes of obj.data; others may have files of that ending, too
_LIST = 1_000_000  # a list of images says more than any folder


@dataclass(frozen=True)
class _Entry:
    """A folder or list of images, as a file names it."""

    key: str
    text: str
    source: Path
    base: str = ''


def read_splits(
    folder: Path, source: Path, content: dict, files: ImageFiles, findings: Findings
) -> tuple[dict[str, str | None], set[Path]]:
    """Image -> its split, and the lists of images that were read, absolute.

    Where entries hold one image both, as of ``train: images`` and ``val: images/val``,
    that of the deeper folder counts, and a list before any folder.

    Args:
        folder: of the labels.
        source: the data.yaml or list of class names.
        content: of the data.yaml; empty for a list.
        files: the images.
        findings: splits without images and lines without one image are counted there.
    """
    entries = list(_of_yaml(source, content))
    if not content:
        entries = list(_of_darknet(folder)) or list(_lists_beside(source))
    lists: set[Path] = set()
    best: dict[str, tuple[int, str]] = {}
    for entry in entries:
        paths, depth = _images_of(entry, files, lists, findings)
        if not paths:
            text = f'{entry.source}: {entry.key}: {entry.text}'
            findings.add('no_split', text)
        for path in paths:
            if path not in best or depth > best[path][0]:
                best[path] = depth, _KEYS[entry.key]
    own: dict[str, str | None] = {path: split for path, (_, split) in best.items()}
    for path in files.paths:  # nothing is lost that the entries forget
        own.setdefault(path, split_of_folder(path))
    return own, lists


def _of_yaml(source: Path, content: dict) -> Iterator[_Entry]:
    base = str(content.get('path', ''))
    for key in _KEYS:
        entry = content.get(key)
        for each in entry if isinstance(entry, list) else [entry] if entry else []:
            yield _Entry(key, str(each), source, base)


def _of_darknet(folder: Path) -> Iterator[_Entry]:
    """Entries ``train = data/train.txt`` of obj.data."""
    for path in walk(folder):
        if path.suffix.lower() != '.data' or path.stat().st_size >= _LARGEST:
            continue
        try:
            lines = read_text(path).splitlines()
        except InputError:
            continue  # another program's
        for line in lines:
            key, _, value = (part.strip() for part in line.partition('='))
            if key in _KEYS and value:
                yield _Entry(key, value, path)


def _lists_beside(source: Path) -> Iterator[_Entry]:
    for key in _KEYS:
        path = source.with_name(f'{key}.txt')
        if path.is_file():
            lines = read_text(path).split('\n', 1)
            if PurePosixPath(lines[0].strip()).suffix.lower() in SUFFIXES:
                yield _Entry(key, path.name, source)


def _images_of(
    entry: _Entry, files: ImageFiles, lists: set[Path], findings: Findings
) -> tuple[list[str], int]:
    """Images of a folder or list, and how much it says; the paths are often those of
    another computer, or begin with '../' though they lie beside it, as Roboflow's do.
    """
    near = entry.source.parent
    text = entry.text.replace('\\', '/')
    places = [near / entry.base / text, near / text, near / text.lstrip('./')]
    if text.endswith('.txt'):
        places.append(near / PurePosixPath(text).name)
    for place in places:
        prefix = Path(os.path.relpath(place.resolve(), files.root)).as_posix()
        inside = [p for p in files.paths if p.startswith(f'{prefix}/') or prefix == '.']
        if inside:
            return inside, len(PurePosixPath(prefix).parts)
        if place.suffix == '.txt' and place.is_file():
            lists.add(place.resolve())
            close = Path(os.path.relpath(near.resolve(), files.root)).as_posix()
            listed = []
            for line in filter(None, map(str.strip, read_text(place).splitlines())):
                found = files.find(line, close)
                if len(found) == 1:
                    listed += found
                else:
                    findings.add('listed', f'{place}: {line} is {len(found)} files')
            return listed, _LIST
    return [], 0
