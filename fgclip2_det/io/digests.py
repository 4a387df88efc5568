"""SHA-256 of files, folders and plain values."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

_PIECE = 2**24  # bytes


def file_digest(path: str | os.PathLike) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits.

    Raises:
        OSError: a file that cannot be read.
    """
    digest = hashlib.sha256()
    add_file(digest, path)
    return digest.hexdigest()


def folder_digest(path: str | os.PathLike) -> str:
    """SHA-256 of a file, or of the JSON files below a folder with their names.

    Raises:
        OSError: a file that cannot be read.
    """
    path = Path(path)
    if path.is_file():
        return file_digest(path)
    files = sorted(path.rglob('*.json'))
    return json_digest([[str(f.relative_to(path)), file_digest(f)] for f in files])


def json_digest(content: object) -> str:
    """SHA-256 of a value as compact JSON."""
    text = json.dumps(content, ensure_ascii=False, separators=(',', ':'))
    return hashlib.sha256(text.encode()).hexdigest()


def add_file(
    digest: hashlib._Hash | hashlib.blake2b,
    path: str | os.PathLike,
    whole: int | None = None,
) -> None:
    """Update a hash with a file's bytes.

    Args:
        digest: of ``hashlib``.
        path: the file.
        whole: only the first and the last 16 MiB of a file of more bytes than this
            are read; None reads every file in full.

    Raises:
        OSError: a file that cannot be read.
    """
    with Path(path).open('rb') as file:
        size = os.fstat(file.fileno()).st_size
        while piece := file.read(_PIECE):
            digest.update(piece)
            if whole is not None and size > whole and file.tell() < size - _PIECE:
                file.seek(size - _PIECE)


def file_state(path: str | os.PathLike) -> tuple | None:
    """A value that changes when a file is written or replaced, without reading it.

    Returns:
        Plain values; None for a file that changed less than two seconds ago. The
        clock of a file system may be as coarse as that, and the next write unseen.

    Raises:
        OSError: no such file.
    """
    stat = os.stat(path)
    if time.time() - max(stat.st_mtime, stat.st_ctime) < 2:
        return None
    ends = stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
    return str(Path(path).resolve()), stat.st_dev, stat.st_ino, *ends
