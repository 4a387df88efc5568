"""Locks between processes, on this machine and on others that share the folder.

The kernel frees a lock when its process ends, however it ends.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout, UnixFileLock

from fgclip2_det.io.atomic import write_atomic

LOCK, HOLDER = '.lock', '.holder.json'


@contextmanager
def locked(folder: str | os.PathLike) -> Iterator[None]:
    """Wait until no other process or thread is in such a block for this folder.

    Args:
        folder: made when missing; has a file ``.lock`` in the block.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    lock = FileLock(Path(folder) / LOCK)
    lock.acquire()
    try:
        yield
    finally:
        _release(lock)


@contextmanager
def held_folder(
    folder: str | os.PathLike, task: str, remedy: str, wait: float = 0
) -> Iterator[None]:
    """Keep other processes from holding a folder as long as the block runs.

    Args:
        folder: made when missing; has files ``.lock`` and ``.holder.json`` in the
            block.
        task: what holds it, such as 'training'.
        remedy: what others can do instead.
        wait: seconds for which a present holder is waited for.

    Raises:
        ValueError: another process holds it; names that process and its machine.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        raise ValueError(
            f'{folder} is in use by {read_holder(folder)}; wait until it has ended, '
            f'{remedy}'
        ) from None
    try:
        _write_holder(folder, task)
        yield
    finally:
        (folder / HOLDER).unlink(missing_ok=True)
        _release(lock)


def read_holder(folder: Path) -> str:
    """Who holds a folder: the task, its process, machine, start and command."""
    try:
        holder = json.loads((folder / HOLDER).read_text(encoding='utf-8'))
        return (
            f'a {holder["task"]}, process {holder["process"]} on {holder["host"]} '
            f'since {holder["since"]} ({holder["command"]:.200})'
        )
    except (OSError, ValueError, KeyError, TypeError):  # it is just being written
        return 'another process'


def _write_holder(folder: Path, task: str) -> None:
    holder = dict(
        task=task,
        process=os.getpid(),
        host=socket.gethostname(),
        since=time.strftime('%Y-%m-%d %H:%M:%S'),
        command=shlex.join(sys.argv),
    )
    text = json.dumps(holder, indent=1, ensure_ascii=False)
    write_atomic(folder / HOLDER, f'{text}\n'.encode(errors='replace'))


class FolderUse:
    """Says that a process needs the files of a folder, until it ends or lets go.

    Any number of processes may use a folder at once; who removes files there asks
    :meth:`is_shared` first, both within :func:`locked`.

    Args:
        folder: made when missing; gets a lock file of this process.

    Example:
        >>> with locked(folder):
        ...     use = FolderUse(folder)
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f'.use-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}.lock'
        self.path = self.folder / name
        self._lock = FileLock(self.path)
        self._lock.acquire()

    def is_shared(self) -> bool:
        """Whether another process, or another use of this one, needs the folder."""
        others = set(self.folder.glob('.use-*.lock')) - {self.path}
        return any(_is_locked(path) for path in others)

    def end(self) -> None:
        """Let go; the files may be removed from now on."""
        _release(self._lock)


def _is_locked(path: Path) -> bool:
    """Whether a process holds a lock file; that of a killed one is removed."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    _release(lock)
    return False


def _release(lock: BaseFileLock) -> None:
    """Remove the lock's file and free it, in this order: who waits for the file sees
    that it has no name any more and makes a new one."""
    if isinstance(lock, UnixFileLock):  # others remove theirs, or cannot
        with suppress(OSError):
            os.unlink(lock.lock_file)
    lock.release()
