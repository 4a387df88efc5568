"""Files that are either there in full or not there at all."""

import os
from pathlib import Path


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
