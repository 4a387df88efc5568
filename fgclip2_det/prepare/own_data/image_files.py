"""Image files below a folder, found by the names that annotations give them."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from fgclip2_det.fgclip2.image import read_header
from fgclip2_det.io import InputError
from fgclip2_det.prepare.yolo import SUFFIXES

from .records import split_of, split_of_folder

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
        self._known = {nfc(path): path for path in self.paths}
        self._known |= {path: path for path in self.paths}
        self._named: dict[str, list[str]] = defaultdict(list)
        self._stems: dict[str, list[str]] = defaultdict(list)
        for path in self.paths:
            own = PurePosixPath(nfc(path))
            self._named[own.name].append(path)
            self._stems[own.stem].append(path)
        self._splits = {split_of_folder(path) for path in self.paths}
        self._folders = {
            p for path in self.paths for p in PurePosixPath(path).parts[:-1]
        }
        self._sizes: dict[str, tuple[int, int] | str] = {}

    def find(self, name: str, near: str = '', split: str | None = None) -> list[str]:
        """Files that a name may mean: one, none, or several that fit alike.

        Names that differ in Unicode's composition alone are one, as macOS decomposes
        them. A file that is elsewhere than the name says is none where its folder is
        of another split: than ``split``, where files of it lie in folders of that name,
        or else than a folder of the name that is one of the data's. Other folders of
        the name, perhaps of another computer, only say which files go first.

        Args:
            name: a path of any form, or a URL; uploads of Label Studio included.
            near: folder of the annotation file, relative to the data.
            split: of the annotation; files in a folder of it go first.
        """
        for text in dict.fromkeys((_plain(name), name.replace('\\', '/'))):
            for folder in ('', 'images', '../images'):
                path = os.path.normpath(PurePosixPath(near, folder, text))
                if own := self._exact(path):
                    return [own]
            if own := self._exact(os.path.normpath(text)):
                return [own]
            last = nfc(PurePosixPath(text).name)
            same = self._named.get(last) or self._named.get(_UPLOAD.sub('', last), [])
            if same:
                return self._closest(same, text, near, split)
        return []

    def by_stem(self, stem: str, near: str = '', split: str | None = None) -> list[str]:
        """Files of that name without its ending, as :meth:`find`."""
        return self._closest(self._stems.get(nfc(stem), []), stem, near, split)

    def _exact(self, path: str) -> str | None:
        return self._known.get(path) or self._known.get(nfc(path))

    def _closest(
        self, paths: list[str], text: str, near: str, split: str | None
    ) -> list[str]:
        parts = PurePosixPath(text).parts
        wanted = split if split in self._splits else None
        for part in reversed(parts[:-1]):
            if wanted is None and part in self._folders:
                wanted = split_of(part)
        if wanted:
            paths = [p for p in paths if split_of_folder(p) in (None, wanted)]
        elif said := split_of_folder('/'.join(parts[-3:])):  # or /home/dev/ of another
            likely = [p for p in paths if split_of_folder(p) in (None, said)]
            paths, wanted = likely or paths, said
        best = closest(paths, text, near)
        own = [path for path in best if wanted and split_of_folder(path) == wanted]
        return own or best

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


def nfc(text: str) -> str:
    """Text in Unicode's composed form, as most tools write file names."""
    return text if text.isascii() else unicodedata.normalize('NFC', text)


def closest(paths: Sequence[str], text: str, near: str = '') -> list[str]:
    """Those that share most parts at the end with a name, and then at the beginning
    with the folder ``near``."""
    wanted = PurePosixPath(nfc(text)).parts

    def shared(path: str) -> tuple[int, int]:
        parts = PurePosixPath(nfc(path)).parts
        tail = 0
        while tail < min(len(parts), len(wanted)):
            if parts[-1 - tail] != wanted[-1 - tail]:
                break
            tail += 1
        head = [a == b for a, b in zip(parts, PurePosixPath(near).parts, strict=False)]
        return tail, [*head, False].index(False)

    best = max(map(shared, paths), default=None)
    return [path for path in paths if shared(path) == best]
