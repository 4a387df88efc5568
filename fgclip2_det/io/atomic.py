"""Atomic writes: a file is written in full or not at all."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def temporary_path(path: str | os.PathLike, suffix: str = '.tmp') -> Iterator[Path]:
    """A hidden file in the same folder, renamed to ``path`` when the block ends.

    Its name contains the process and the thread, so that two writers of one file do not
    collide. If the block raises, it is removed and ``path`` stays as it was. A pipe or
    a device, such as /dev/stdout, is written itself, as nothing can take its place.

    Args:
        path: file to write; its folder is made when missing.
        suffix: of the temporary name, for a writer that insists on one.
    """
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = f'{os.getpid()}-{threading.get_native_id()}'
    temporary = path.with_name(f'.{path.name}.{writer}{suffix}')
    temporary.unlink(missing_ok=True)  # a link of this name would be followed
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def open_atomic(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A binary file that appears as ``path`` when the block ends, flushed to disk."""
    with temporary_path(path) as temporary, open(temporary, 'wb') as file:
        yield file
        file.flush()
        if temporary.is_file():
            os.fsync(file.fileno())


def write_atomic(path: str | os.PathLike, data: bytes) -> None:
    """Write ``data`` to ``path`` in one step.

    A process killed at any moment leaves the old file or the new one.
    """
    with open_atomic(path) as file:
        file.write(data)
