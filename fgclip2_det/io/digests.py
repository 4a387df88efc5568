"""SHA-256 of files, folders and plain values."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path


def file_digest(path: str | os.PathLike) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits.

    Raises:
        OSError: a file that cannot be read.
    """
    digest = hashlib.sha256()
    with Path(path).open('rb') as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
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


def file_state(path: str | os.PathLike) -> tuple | None:
    """What changes when a file is written or replaced, without reading it.

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
