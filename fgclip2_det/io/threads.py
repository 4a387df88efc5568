"""A function over many items in threads, which an interruption ends at once."""

from __future__ import annotations

import _imp
import _thread
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import TypeVar

Item = TypeVar('Item')
Result = TypeVar('Result')


@contextmanager
def thread_map(
    function: Callable[[Item], Result], items: Iterable[Item], num_threads: int
) -> Iterator[Iterator[Result]]:
    """Results in the items' order, computed in threads for as long as the block runs.

    If the block is left by an exception, Ctrl-C among them, calls that have begun end
    and no other begins. ``ThreadPoolExecutor`` would work through all of them. Ctrl-C
    in one of Python's own locks (the executor's, those of ``Thread.start``) can leave
    it held, for which the threads then wait forever, or released twice (CPython 3.11),
    so that here are none: only ``SimpleQueue``, which is written in C. The same holds
    for the locks of ``import``; the first call is made before the threads start, so
    that they find imported what the function imports.

    Args:
        function: called with one item. Its exceptions are raised where the result is
            read.
        items: read in full at once.
        num_threads: how many calls run side by side.

    Example:
        >>> with thread_map(abs, [-1, 2], 2) as results:
        ...     print(*results)
        1 2
    """
    waiting: SimpleQueue = SimpleQueue()  # (index, item); None ends a thread
    done: SimpleQueue = SimpleQueue()  # (index, result, error)
    ended: SimpleQueue = SimpleQueue()  # a None of every thread
    stopped = False

    def work() -> None:
        while (job := waiting.get()) is not None and not stopped:
            index, item = job
            try:
                done.put((index, function(item), None))
            except BaseException as error:
                done.put((index, None, error))
        ended.put(None)

    def first(job: tuple[int, Item]) -> None:
        index, item = job
        try:
            done.put((index, function(item), None))
        except Exception as error:
            done.put((index, None, error))

    started, jobs = 0, list(enumerate(items))
    count = len(jobs)
    try:
        for job in jobs[:1]:
            first(job)
        for _ in range(num_threads):
            _thread.start_new_thread(work, ())
            started += 1
        for job in jobs[1:]:
            waiting.put(job)
        yield _in_order(done, count)
    finally:
        stopped = True
        _free_imports()
        for _ in range(num_threads):
            waiting.put(None)
        for _ in range(started):
            ended.get()


def _free_imports() -> None:
    """Free Python's lock of imports, which Ctrl-C in the middle of an import leaves to
    this thread: others that import something would wait for it forever."""
    with suppress(RuntimeError):  # it is not this thread's
        while True:
            _imp.release_lock()


def _in_order(done: SimpleQueue, count: int) -> Iterator:
    early = {}
    for index in range(count):
        while index not in early:
            at, result, error = done.get()
            early[at] = result, error
        result, error = early.pop(index)
        if error is not None:
            raise error
        yield result
