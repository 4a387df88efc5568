"""Files that are either there in full or not there at all."""

import os
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend


def write_atomic(path: Path | str, data: bytes) -> None:
    """Write to a hidden neighbour, flush to disk, then rename over ``path``.

    A process killed at any moment leaves the old file or the new one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.tmp')
    with open(temporary, 'wb') as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


class AtomicLocalBackend(LocalBackend):
    """MMEngine's local files, with :func:`write_atomic` for binary data."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write ``obj`` to ``filepath`` in one step."""
        write_atomic(filepath, obj)


register_backend('atomic_local', AtomicLocalBackend, force=True)
