"""Stop this process in front of one of its changes of files.

Python's audit hooks see every file that is opened, renamed, made or removed, from C as
well; writes go through a thin wrapper, and are torn: the first half is written.
"""

from __future__ import annotations

import builtins
import io
import os
import sys
from collections.abc import Callable
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# event -> which of its arguments name files
CHANGES = {
    'os.rename': (0, 1),
    'os.remove': (0,),
    'os.mkdir': (0,),
    'os.rmdir': (0,),
    'os.link': (0, 1),
    'os.symlink': (1,),
    'os.truncate': (0,),
}
STOPPED = 137  # exit status of a process that was stopped, as of one killed


class Stopper:
    """Counts changes of files below a folder, and ends the process at one of them.

    Args:
        folder: only files below it count.
        stop_at: number of the change, from 0, before which the process ends; None
            counts only.
        ignored: path below the folder -> whether it does not count.
    """

    def __init__(
        self, folder: str, stop_at: int | None, ignored: Callable[[str], bool]
    ) -> None:
        self.folder = os.path.realpath(folder)
        self.stop_at, self.ignored, self.count = stop_at, ignored, 0

    def install(self) -> None:
        """For the rest of the process: an audit hook cannot be removed."""
        sys.addaudithook(self._audit)
        plain_open = io.open

        def open_torn(file: Any, mode: str = 'r', *args: Any, **kwargs: Any) -> Any:
            opened = plain_open(file, mode, *args, **kwargs)
            is_path = isinstance(file, str | bytes | os.PathLike)
            if set(mode) & set('wxa+') and is_path and self._counts(file):
                return TornFile(opened, self)
            return opened

        builtins.open = io.open = open_torn
        import safetensors.torch as safetensors

        plain_save = safetensors.serialize_file

        def save_torn(tensors: Any, path: Any, *args: Any, **kwargs: Any) -> None:
            plain_save(tensors, path, *args, **kwargs)
            if self._counts(path) and self.arrives():
                os.truncate(path, os.path.getsize(path) // 2)
                os._exit(STOPPED)

        safetensors.serialize_file = save_torn

    def arrives(self) -> bool:
        """Count a change; whether it is the one to stop at."""
        self.count += 1
        return self.count - 1 == self.stop_at

    def _audit(self, event: str, args: tuple) -> None:
        if event == 'open':
            path, _, flags = args
            changes = isinstance(flags, int) and flags & WRITING
            paths = [path] if changes and not isinstance(path, int) else []
        else:
            paths = [args[i] for i in CHANGES.get(event, ())]
        if any(map(self._counts, paths)) and self.arrives():
            os._exit(STOPPED)

    def _counts(self, path: Any) -> bool:
        if path is None or isinstance(path, int):
            return False
        path = os.path.realpath(os.fsdecode(path))
        inside = os.path.relpath(path, self.folder)
        return not inside.startswith('..') and not self.ignored(inside)


class TornFile:
    """An open file whose writes count; the one to stop at is written by half."""

    def __init__(self, file: Any, stopper: Stopper) -> None:
        self._file, self._stopper = file, stopper

    def write(self, data: Any) -> int:
        if self._stopper.arrives():
            self._file.write(data[: len(data) // 2])
            self._file.flush()
            os._exit(STOPPED)
        return self._file.write(data)

    def __enter__(self) -> TornFile:
        self._file.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.__exit__(*error)

    def __iter__(self) -> Any:
        return iter(self._file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
