"""Atomic writes: a file or folder is written in full or not at all."""

import errno
import os
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_NO_FOLLOW = getattr(os, 'O_NOFOLLOW', 0)  # Windows has none
# what a write may meet without the fault of who named the file
_REMEDIES = {
    errno.ENOSPC: 'make room, or name another place',
    errno.EDQUOT: 'make room, or name another place',
    errno.EACCES: 'name a place that you may write to',
    errno.EPERM: 'name a place that you may write to',
    errno.EROFS: 'name a place that can be written to',
    errno.EISDIR: 'it is a folder; name a file',
    errno.ENOTDIR: 'a part of its path is a file; name another place',
    errno.EEXIST: 'a part of its path is a file; name another place',
    errno.ENAMETOOLONG: 'give it a shorter name',
}


class UnwritableError(OSError, ValueError):
    """A file or folder that cannot be written, named as the caller named it."""


@contextmanager
def temporary_path(path: str | os.PathLike, suffix: str = '') -> Iterator[Path]:
    """An empty hidden file in the same folder, renamed to ``path`` when the block ends.

    Its name contains the process, the thread and a random number, and it is made by
    this call alone, so that two writers of one file do not collide and no link is
    followed. If the block raises, it is removed and ``path`` stays as it was. A pipe or
    a device, such as /dev/stdout, is written itself, as nothing can take its place.

    What killed runs have left in the folder is removed first, see
    :func:`.leftovers.remove_leftovers`.

    Args:
        path: file to write; its folder is made when missing.
        suffix: that the temporary name must have, for a writer that insists on one.

    Raises:
        UnwritableError: a full disk, no permission, a folder of this name.
    """
    path = Path(path)
    with _naming(path):
        through = path.exists() and not (path.is_file() or path.is_dir())
    if through:
        with _naming(path, path):
            yield path
        return
    with _naming(path):
        temporary = _temporary(path, suffix)
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        with _naming(path, temporary):
            yield temporary
            _sync(temporary)
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def open_atomic(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A binary file that appears as ``path`` when the block ends, flushed to disk."""
    with temporary_path(path) as temporary:
        opener = None if temporary == Path(path) else _open_own
        with open(temporary, 'wb', opener=opener) as file:
            yield file


def write_atomic(path: str | os.PathLike, data: bytes) -> None:
    """Write ``data`` to ``path`` in one step.

    A process killed at any moment leaves the old file or the new one.
    """
    with open_atomic(path) as file:
        file.write(data)


@contextmanager
def temporary_folder(path: str | os.PathLike, last: str) -> Iterator[Path]:
    """A hidden folder beside ``path``, whose files are in ``path`` when the block ends.

    Where there is no ``path``, the folder is renamed: all or nothing. Files of an
    existing folder are replaced one by one, and ``last``, without which no reader
    takes the folder for whole, goes first and comes last.

    Args:
        path: folder to write.
        last: name of a file that the block writes.

    Raises:
        UnwritableError: a full disk, no permission, a file of this name, a folder in
            the place of a file; then nothing in ``path`` has changed.
    """
    path = Path(path)
    with _naming(path):
        temporary = _temporary(path, '')
        temporary.mkdir()
    try:
        with _naming(path, temporary):
            yield temporary
            for file in temporary.iterdir():
                _sync(file)
            if not path.is_dir():
                with suppress(OSError):  # another process may have made it just now
                    os.rename(temporary, path)
                    return
            _replace_files(temporary, path, last)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace_files(source: Path, target: Path, last: str) -> None:
    files = sorted(source.iterdir(), key=lambda file: file.name == last)
    for file in files:
        place = target / file.name
        if place.is_dir() and not place.is_symlink():
            raise UnwritableError(
                f'{place} cannot be written (it is a folder): move it, or name another '
                f'place than {target}'
            )
    (target / last).unlink(missing_ok=True)
    for file in files:
        os.replace(file, target / file.name)


def _temporary(path: Path, suffix: str) -> Path:
    """A name of our kind beside ``path``, whose folder is made."""
    from fgclip2_det.io.leftovers import remove_leftovers  # not for readers alone

    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent)
    writer = f'{os.getpid()}-{threading.get_native_id()}-{secrets.token_hex(4)}'
    name = path.name.encode()[: 200 - len(suffix)].decode(errors='ignore')
    return path.with_name(f'.{name}.{writer}.tmp{suffix}')


def _open_own(path: str, flags: int) -> int:
    return os.open(path, flags | _NO_FOLLOW)


def _sync(file: Path) -> None:
    """Flush a file to the disk, so that a name never comes before its content."""
    descriptor = os.open(file, os.O_RDWR | _NO_FOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _naming(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Have errors of the write name ``path`` instead of the temporary file.

    Errors of other files that a block reads pass as they are.
    """
    try:
        yield
    except UnwritableError:
        raise
    except OSError as error:
        names = (error.filename, error.filename2)
        ours = temporary is None or any(
            str(name or '').startswith(str(temporary)) for name in names
        )
        full = error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if not (ours or full):
            raise
        reason = error.strerror or str(error)
        remedy = _REMEDIES.get(error.errno or 0, 'name another place')
        raise UnwritableError(
            f'{path} cannot be written ({reason}): {remedy}'
        ) from error
