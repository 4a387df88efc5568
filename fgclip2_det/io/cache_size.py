"""Size limit of caches on disk: what was used least recently goes first."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

VARIABLE = 'FGCLIP2_CACHE_SIZE'
TEXT_BYTES = 10 * 10**9  # limit of a folder of text embeddings where none is set
_UNITS = {'': 1, 'K': 10**3, 'M': 10**6, 'G': 10**9, 'T': 10**12}


def cache_limit(default: int | None) -> int | None:
    """Bytes that a folder of a cache may take; None for no limit.

    Args:
        default: where ``FGCLIP2_CACHE_SIZE`` is not set.

    Raises:
        ValueError: the variable is neither a size nor 'none'.

    Example:
        >>> os.environ['FGCLIP2_CACHE_SIZE'] = '1.5G'
        >>> cache_limit(None)
        1500000000
    """
    text = os.environ.get(VARIABLE, '').strip()
    if not text:
        return default
    if text.lower() == 'none':
        return None
    match = re.fullmatch(r'(\d{1,15}(?:\.\d{1,9})?) ?([KMGT]?)B?', text.upper())
    size = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    if size < 1:
        raise ValueError(
            f'{VARIABLE} must be a size such as 500M, 20G or 1.5T (powers of 1000; '
            f"bytes without a letter), or 'none', got {text!r}"
        )
    return size


def mark_used(path: Path) -> None:
    """Note that a cache's file is read now, unless this user may not change it.

    The time of access is set: many file systems do not keep it of themselves.
    """
    with suppress(OSError):
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def folder_bytes(files: Iterable[Path]) -> int:
    """Sum of the sizes of files; those that are gone count nothing."""
    return sum(size for _, size, _ in _oldest_first(files))


def remove_oldest(files: Iterable[Path], excess: int) -> int:
    """Remove files, the least recently used first, until ``excess`` bytes are free.

    Args:
        files: those that may go.
        excess: bytes, not more than that is removed but for the last file's rest.

    Returns:
        Bytes removed; fewer than ``excess`` if all files are gone.
    """
    removed = 0
    for _, size, path in _oldest_first(files):
        if removed >= excess:
            break
        with suppress(OSError):  # another process is faster, or has it open (Windows)
            path.unlink()
            removed += size
    return removed


def trim(files: Iterable[Path], limit: int | None, newest: Path) -> None:
    """Remove the least recently used of ``files`` until ``limit`` bytes are left.

    Args:
        files: of a cache whose readers take a file into memory at once.
        limit: bytes; None removes nothing.
        newest: a file that stays, however large.
    """
    files = list(files)
    if limit is not None and (excess := folder_bytes(files) - limit) > 0:
        remove_oldest([file for file in files if file != newest], excess)


def _oldest_first(files: Iterable[Path]) -> list[tuple[int, int, Path]]:
    rows = []
    for path in files:
        with suppress(FileNotFoundError):
            stat = path.stat()
            used = max(stat.st_atime_ns, stat.st_mtime_ns)
            rows.append((used, stat.st_size, path))
    return sorted(rows)
