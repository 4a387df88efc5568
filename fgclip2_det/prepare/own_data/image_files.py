"""Image files below a folder, found by the names that annotations give them."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from fgclip2_det.fgclip2.image import read_header
from fgclip2_det.io import InputError
from fgclip2_det.prepare.yolo import SUFFIXES

MAX_FILES = 10_000_000  # below one folder
_UPLOAD = re.compile(r'[0-9a-f]{8}-')  # before the name of what was uploaded


class ImageFiles:
    """The image files of a data set.

    Nothing outside the folders is looked at, whatever an annotation names.

    Args:
        folders: with the images at any depth; the first one is that of the data.

    Attributes:
        paths: of all files, relative to the first folder, sorted.

    Raises:
        InputError: more than :data:`MAX_FILES` files.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self.root, *others = [Path(folder).resolve() for folder in folders]
        found: dict[str, None] = {}
        for folder in (self.root, *others):
            for path in walk(folder):
                if path.suffix.lower() in SUFFIXES:
                    found[_relative(path, self.root)] = None
        self.paths = sorted(found)
        self._known = set(self.paths)
        self._named: dict[str, list[str]] = defaultdict(list)
        self._stems: dict[str, list[str]] = defaultdict(list)
        for path in self.paths:
            own = PurePosixPath(path)
            self._named[own.name].append(path)
            self._stems[own.stem].append(path)
        self._sizes: dict[str, tuple[int, int] | str] = {}

    def find(self, name: str, near: str = '') -> list[str]:
        """Files that a name may mean, best first: one, none, or several that fit alike.

        Args:
            name: a path of any form, or a URL; uploads of Label Studio included.
            near: folder of the annotation file, relative to the data.
        """
        for text in dict.fromkeys((_plain(name), name.replace('\\', '/'))):
            for folder in ('', 'images', '../images'):
                path = os.path.normpath(PurePosixPath(near, folder, text))
                if path in self._known:
                    return [path]
            path = os.path.normpath(text)
            if path in self._known:
                return [path]
            last = PurePosixPath(text).name
            same = self._named.get(last) or self._named.get(_UPLOAD.sub('', last), [])
            if same:
                return _closest(same, text, near)
        return []

    def by_stem(self, stem: str, near: str = '') -> list[str]:
        """Files of that name without its ending, as :meth:`find`."""
        return _closest(self._stems.get(stem, []), stem, near)

    def full(self, path: str) -> Path:
        """Absolute path of one of :attr:`paths`."""
        return Path(os.path.normpath(self.root / path))

    def size(self, path: str) -> tuple[int, int]:
        """(width, height) of an upright image.

        Raises:
            InputError: naming the file, if it cannot be read.
        """
        if path not in self._sizes:
            try:
                self._sizes[path] = read_header(self.full(path)).upright
            except InputError as error:
                self._sizes[path] = str(error)
        size = self._sizes[path]
        if isinstance(size, str):
            raise InputError(size)
        return size


def walk(folder: Path) -> Iterator[Path]:
    """Files below a folder but hidden ones and those in hidden folders, sorted. Links
    are followed, each folder once."""
    count, seen = 0, set()
    for name, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(name)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(f for f in folders if not f.startswith(('.', '__MACOSX')))
        for file in sorted(files):
            if not file.startswith('.'):
                count += 1
                if count > MAX_FILES:
                    raise InputError(
                        f'{folder} has more than {MAX_FILES:,} files; name the '
                        'folder of the labels'
                    )
                yield Path(name, file)


def _relative(path: Path, root: Path) -> str:
    return Path(os.path.relpath(path, root)).as_posix()


def _plain(name: str) -> str:
    """A path of a URL, of a Windows path or of Label Studio's local files."""
    parts = urlsplit(name) if '://' in name or name.startswith('/data/') else None
    if parts is not None:
        query = parse_qs(parts.query).get('d')
        name = query[0] if query else unquote(parts.path)
    return name.replace('\\', '/').lstrip('/')


def _closest(paths: list[str], text: str, near: str) -> list[str]:
    """Those that share most parts with a name, and then with the folder."""
    wanted = PurePosixPath(text).parts

    def shared(path: str) -> tuple[int, int]:
        parts = PurePosixPath(path).parts
        tail = 0
        while tail < min(len(parts), len(wanted)):
            if parts[-1 - tail] != wanted[-1 - tail]:
                break
            tail += 1
        head = [a == b for a, b in zip(parts, PurePosixPath(near).parts, strict=False)]
        return tail, [*head, False].index(False)

    best = max(map(shared, paths), default=None)
    return [path for path in paths if shared(path) == best]
