"""Processes that end with the process that started them."""

from __future__ import annotations

import os
import sys
import threading
import time

PARENT = 'FGCLIP2_END_WITH'  # environment: the process whose end is awaited
_SECONDS = 0.5


def environment_of_child() -> dict[str, str]:
    """This environment, for a child that calls :func:`end_with_parent`."""
    return {**os.environ, PARENT: str(os.getpid())}


def end_with_parent() -> bool:
    """End this process soon after the one that asked for it has ended.

    A killed sweep, whose trainings would run on, cannot end them itself.

    Returns:
        Whether there is such a process; False for one that was started alone.
    """
    parent = os.environ.get(PARENT, '')
    if not parent.isdecimal() or int(parent) == os.getpid():
        return False
    args = int(parent), os.getppid()
    threading.Thread(target=_watch, args=args, daemon=True).start()
    return True


def _watch(parent: int, direct: int) -> None:
    """``direct`` is the parent itself, or a launcher between."""
    from fgclip2_det.io.leftovers import is_alive

    while is_alive(parent) and os.getppid() == direct:
        time.sleep(_SECONDS)
    print(
        f'process {parent}, which started this one, has ended: this one ends as well',
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)
