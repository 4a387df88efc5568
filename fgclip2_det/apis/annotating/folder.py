"""The images of a folder and of those below it, read ahead of their use."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from PIL import Image

from fgclip2_det.apis.annotating.lines import ImageLine
from fgclip2_det.apis.inputs import InputImage
from fgclip2_det.fgclip2.image import image_endings


@dataclass(frozen=True)
class ImageFolder:
    """Image files at any depth below a folder.

    Attributes:
        path: of the folder.
        names: paths below it with '/', sorted.
        unread: folder -> why it could not be listed.
    """

    path: Path
    names: tuple[str, ...]
    unread: dict[str, str] = field(default_factory=dict)

    @classmethod
    def find(cls, path: str | os.PathLike, but: Path | None = None) -> ImageFolder:
        """List the images; hidden files and folders are left out.

        Args:
            path: the folder.
            but: a folder that is left out, as where the labels go.

        Raises:
            ValueError: no such folder, or no image that can be listed in it.
        """
        folder, unread = Path(path), {}
        if not folder.is_dir():
            raise ValueError(f'there is no folder {folder} of images; check the path')
        left_out = None if but is None else but.resolve()
        endings = image_endings()
        names = []

        def note(error: OSError) -> None:
            unread[str(error.filename)] = error.strerror or str(error)

        for parent, folders, files in os.walk(folder, onerror=note):
            folders[:] = [
                each
                for each in folders
                if not each.startswith('.')
                and (Path(parent) / each).resolve() != left_out
            ]
            names += [
                (Path(parent) / each).relative_to(folder).as_posix()
                for each in files
                if not each.startswith('.') and Path(each).suffix.lower() in endings
            ]
        if not names:
            why = ''.join(f'; {name}: {text}' for name, text in unread.items())
            raise ValueError(f'folder {folder} contains no images{why}')
        return cls(folder, tuple(sorted(names)), unread)

    def state(self, name: str) -> tuple[int, int]:
        """Number of bytes of a file, and when it was changed, in nanoseconds; (-1, 0)
        for one that is gone or may not be looked at."""
        try:
            found = (self.path / name).stat()
        except OSError:
            return -1, 0
        return found.st_size, found.st_mtime_ns

    def digest(self, name: str) -> str:
        """SHA-256 of a file; '' for one that cannot be read."""
        try:
            return hashlib.sha256((self.path / name).read_bytes()).hexdigest()
        except OSError:
            return ''

    def unchanged(self, line: ImageLine) -> ImageLine | None:
        """The line of a file that is still what was detected, with the time that it has
        now; None where it is another. A file that was written again alike is the same,
        and so is one of the same size where an older version noted nothing else."""
        num_bytes, modified = self.state(line.image)
        if num_bytes != line.num_bytes:
            return None
        if modified == line.modified:
            return line
        digest = self.digest(line.image)
        if line.digest and digest != line.digest:
            return None
        return replace(line, modified=modified, digest=digest)


class ReadAhead:
    """Inputs whose images a thread loads before they are asked for, in order.

    Args:
        inputs: images, to be loaded once each, from the first to the last.
        count: how many are held ahead.

    Example:
        >>> with ReadAhead(find_inputs('photos'), 4) as inputs:
        ...     outcomes = list(inferencer.stream(inputs.images))
    """

    def __init__(self, inputs: Sequence[InputImage], count: int) -> None:
        self.inputs, self.count = inputs, count
        self.images = [
            _Ahead(each.source, each.name, each.path, each.channel_order, self, number)
            for number, each in enumerate(inputs)
        ]
        self._pool = ThreadPoolExecutor(1, 'read-ahead')
        self._waiting: dict[int, Future[Image.Image]] = {}

    def load(self, number: int) -> Image.Image:
        """The image, and a start on those that follow."""
        for ahead in range(number, min(number + self.count + 1, len(self.inputs))):
            if ahead not in self._waiting:
                self._waiting[ahead] = self._pool.submit(self.inputs[ahead].load)
        return self._waiting.pop(number).result()

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Ahead(InputImage):
    """An input that a :class:`ReadAhead` loads."""

    reader: Any = None
    number: int = 0

    def load(self) -> Image.Image:
        return self.reader.load(self.number)
