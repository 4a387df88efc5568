"""One thread that computes, and the requests that wait for it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from fgclip2_det.web.limits import Limits, Refused

Result = TypeVar('Result')
LATEST = 0.1  # share of the latest job in the mean of their seconds


class Gone(Exception):
    """The client has closed the connection."""


class Queue:
    """Requests in the order they came, within limits. Used from one event loop.

    Args:
        limits: of the server.

    Attributes:
        waiting: requests that are accepted and not answered yet.
        held: bytes of their uploads.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.waiting = self.held = 0
        self.seconds = 0.0  # a job takes, on average
        self._thread = ThreadPoolExecutor(1, 'detect')

    @contextmanager
    def place(self, size: int) -> Iterator[None]:
        """A place in the queue, and in the memory for uploads, of a request.

        Args:
            size: bytes of the request.

        Raises:
            Refused: if there is none.
        """
        if self.waiting >= self.limits.queue:
            raise self._busy(f'{self.waiting} requests are waiting')
        if self.held + size > self.limits.uploads:
            raise self._busy(f'uploads of {self.held:,} bytes are waiting')
        self.waiting += 1
        self.held += size
        try:
            yield
        finally:
            self.waiting -= 1
            self.held -= size

    async def run(self, work: Callable[[], Result], gone: Awaitable[object]) -> Result:
        """Result of a job; one whose client has left before it began is not done.

        Args:
            work: the job.
            gone: ends when the client leaves.

        Raises:
            Gone: if it left.
        """
        submitted = self._thread.submit(self._timed, work)
        job = asyncio.wrap_future(submitted)
        left = asyncio.ensure_future(gone)
        try:
            await asyncio.wait({job, left}, return_when=asyncio.FIRST_COMPLETED)
            if not job.done():
                raise Gone
            return job.result()
        finally:
            left.cancel()
            # At once: a wrapped future passes its own cancellation on only at the
            # loop's next turn, when the thread may have begun.
            submitted.cancel()
            if not job.cancel():
                job.exception()  # of a job that nobody waits for any more

    def close(self) -> None:
        """End, with the job that is being done."""
        self._thread.shutdown(cancel_futures=True)

    def _timed(self, work: Callable[[], Result]) -> Result:
        start = time.perf_counter()
        try:
            return work()
        finally:
            took = time.perf_counter() - start
            share = LATEST if self.seconds else 1.0
            self.seconds += share * (took - self.seconds)

    def _busy(self, reason: str) -> Refused:
        wait = max(1, math.ceil(self.seconds * self.waiting))
        return Refused(
            503, 'busy', f'the server is busy, {reason}; try again in {wait} s', wait
        )
