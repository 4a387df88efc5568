"""What a server accepts, and how it says no."""

from __future__ import annotations

import re
from dataclasses import dataclass

MEGABYTE = 1 << 20
NAME_LENGTH = 200  # characters of a name on average, and of a file name
_PATH = re.compile(r'(?<![\w.)])(?:[A-Za-z]:\\|/)[^\s:\'",;]*[/\\][^\s:\'",;]*')


@dataclass(frozen=True)
class Limits:
    """Limits of a server; one of its requests computes at a time.

    Attributes:
        upload: bytes of a request.
        pixels: of an image.
        images: of a request.
        names: of a request, negatives and examples included.
        queue: requests that are accepted at a time, the one that computes included.
        uploads: bytes of all requests that are held at a time.
        kept: images whose pixels and features stay in memory.
        seconds: that a request may take to arrive.
    """

    upload: int = 32 * MEGABYTE
    pixels: int = 25_000_000
    images: int = 16
    names: int = 200
    queue: int = 64
    uploads: int = 256 * MEGABYTE
    kept: int = 8
    seconds: float = 60.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value <= 0:
                raise ValueError(f'{name} of a server must be above 0, got {value}')
        if self.uploads < self.upload:
            raise ValueError(
                f'a server that holds {self.uploads} bytes cannot take a request of '
                f'{self.upload}; allow more uploads, or smaller ones'
            )


class Refused(Exception):
    """A request that is not answered.

    Args:
        status: of HTTP.
        code: for programs, such as 'too_large'.
        message: for people: expected, found, remedy. Paths are left out of it.
        retry: seconds until it may succeed; None: it will not.
    """

    def __init__(
        self, status: int, code: str, message: object, retry: float | None = None
    ) -> None:
        super().__init__(without_paths(str(message)))
        self.status, self.code, self.retry = status, code, retry

    @property
    def content(self) -> dict[str, str]:
        """The answer's JSON."""
        return {'error': str(self), 'code': self.code}


def without_paths(text: str) -> str:
    """A message without names of files and folders of this computer."""
    return _PATH.sub('[file]', text)
