"""MMEngine's local file backend with atomic writes."""

from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from fgclip2_det.io.atomic import write_atomic


class AtomicLocalBackend(LocalBackend):
    """``LocalBackend`` that writes binary data with :func:`write_atomic`."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write ``obj`` to ``filepath`` atomically."""
        write_atomic(filepath, obj)


register_backend('atomic_local', AtomicLocalBackend, force=True)
