"""Temporary files and folders that killed processes have left behind."""

import os
import re
import shutil
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

STALE_SECONDS = 3600  # a younger one may be in use, by a process on another machine
# .NAME.PROCESS-THREAD-RANDOM.tmp, of fgclip2_det.io.atomic
_OURS = re.compile(r'\..+\.(\d+)-\d+(?:-[0-9a-f]{8})?\.tmp(?:\.\w+)?')
_SEEN: set[tuple[int, str]] = set()  # folders that a process has looked at


def remove_leftovers(folder: Path) -> None:
    """Remove what killed writers of :mod:`fgclip2_det.io.atomic` left in a folder.

    Only names of our own kind that have not changed for an hour, and whose process does
    not live; said in one line on stderr. A process looks once at each folder, whose
    subfolders belong to other writers.

    Args:
        folder: that is about to be written to.
    """
    key = os.getpid(), os.path.abspath(folder)
    if key in _SEEN:
        return
    if len(_SEEN) > 1000:  # a service that writes to ever new folders
        _SEEN.clear()
    _SEEN.add(key)
    with suppress(OSError), os.scandir(folder) as entries:
        found = [(entry, _OURS.fullmatch(entry.name)) for entry in entries]
        ours = [Path(e) for e, m in found if m and not is_alive(int(m[1]))]
        remove_stale(folder, ours)


def remove_of_dead(folder: Path) -> None:
    """Remove what killed writers left in a folder and below it, of whatever age.

    Args:
        folder: that this process holds a lock on, so that no other machine writes.
    """
    for path in folder.rglob('.*.tmp*'):
        match = _OURS.fullmatch(path.name)
        if match and not is_alive(int(match[1])):
            with suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def remove_stale(folder: Path, leftovers: Iterable[Path]) -> None:
    """Remove those of ``leftovers`` that are an hour old, and say so in one line."""
    removed = 0
    for path in leftovers:
        with suppress(OSError):  # another process may be faster
            if time.time() - last_change(path) < STALE_SECONDS:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
            removed += 1
    if removed:
        things = 'file or folder' if removed == 1 else 'files or folders'
        print(
            f'removed {removed} temporary {things} of killed runs from {folder}',
            file=sys.stderr,
        )


def last_change(path: Path) -> float:
    """Time of the newest change of a file, or of a folder and the files below it."""
    newest = path.lstat().st_mtime
    if path.is_dir() and not path.is_symlink():
        files = (file for file in path.rglob('*') if file.is_file())
        newest = max([newest, *(file.lstat().st_mtime for file in files)])
    return newest


def is_alive(process: int) -> bool:
    """Whether a process of this machine runs; one that ended and was not yet waited
    for does not."""
    with suppress(OSError, IndexError):
        stat = Path(f'/proc/{process}/stat').read_text()  # pid (name) state ...
        return stat.rpartition(')')[2].split()[0] not in 'ZX'
    if os.name == 'nt':  # where signal 0 is Ctrl-C
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
