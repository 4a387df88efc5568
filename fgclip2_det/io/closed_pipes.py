"""A command whose output nobody reads any more, as after ``| head``."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

# 128 + SIGPIPE: what a shell reports of a program that the signal ended
UNREAD = 141


@contextmanager
def closed_pipe_ends_quietly() -> Iterator[None]:
    """A block that ends without a traceback when the reader of its output has left.

    If the block is over by then, and only what is left in the buffer cannot be
    written, the exit status stays that of the answer. If it was printing, it ends
    there with :data:`UNREAD`. Either way what nobody reads goes to ``os.devnull``, so
    that Python's own flush at the end finds nothing to complain of. Another pipe that
    breaks, as that of a child process, is an error as before while the output is read.
    Where the system has no ``poll``, as on Windows, nothing changes.

    Raises:
        SystemExit: with :data:`UNREAD`, or as the block raised it.

    Reference: the note on SIGPIPE in the documentation of Python's ``signal``.
    """
    try:
        yield
    except BrokenPipeError:
        if not reader_left():
            raise
        sys.exit(UNREAD)
    finally:
        _drop_unread()


def reader_left() -> bool:
    """Whether stdout or stderr is a pipe without a reader."""
    return any(_is_abandoned(stream) for stream in (sys.stdout, sys.stderr))


def _drop_unread() -> None:
    """Send to ``os.devnull`` what is left of abandoned streams."""
    for stream in (sys.stdout, sys.stderr):
        if _is_abandoned(stream):
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, stream.fileno())
            os.close(devnull)
            stream.flush()


def _is_abandoned(stream: TextIO | None) -> bool:
    if stream is None or not hasattr(select, 'poll'):
        return False
    try:
        number = stream.fileno()
    except (AttributeError, OSError, ValueError):  # no file, or closed
        return False
    poll = select.poll()
    poll.register(number, 0)  # errors are reported unasked
    return any(event & select.POLLERR for _, event in poll.poll(0))
