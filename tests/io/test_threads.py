"""Functions over items in threads: order, exceptions, and Ctrl-C at any moment."""

import subprocess
import sys
import time
from _thread import get_ident

import pytest

from fgclip2_det.io.threads import thread_map

ROUNDS = 300
INTERRUPTED = f"""
import faulthandler, random, signal, time
from fgclip2_det.io.threads import thread_map

def interrupt(*_):
    raise KeyboardInterrupt

faulthandler.dump_traceback_later(1800, exit=True)  # if it hangs
signal.signal(signal.SIGALRM, interrupt)
moments, interrupted = random.Random(0), 0
for _ in range({ROUNDS}):
    try:
        signal.setitimer(signal.ITIMER_REAL, moments.uniform(1e-4, 3e-3))
        with thread_map(abs, range(50_000), 2) as results:
            list(results)
        while True:
            time.sleep(0.1)  # signal.pause() misses one that came just before
    except KeyboardInterrupt:
        interrupted += 1
print(interrupted)
"""


@pytest.mark.parametrize('num_threads', [1, 3, 9])
def test_order(num_threads):
    def late(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return -number

    with thread_map(late, iter(range(7)), num_threads) as results:
        assert list(results) == [0, -1, -2, -3, -4, -5, -6]
    with thread_map(late, [], num_threads) as results:
        assert list(results) == []


def test_an_exception_is_raised_where_its_result_is_read():
    seen = []
    with (
        pytest.raises(ZeroDivisionError),
        thread_map(lambda x: 1 / x, [2, 1, 0, 4], 2) as results,
    ):
        for result in results:
            seen.append(result)
    assert seen == [0.5, 1.0]


def test_no_call_begins_after_the_block():
    begun = []

    def slow(number: int) -> None:  # all of them would take minutes
        begun.append(number)
        time.sleep(0.01)

    with pytest.raises(KeyError), thread_map(slow, range(10**5), 2) as results:
        next(results)
        raise KeyError
    count = len(begun)
    time.sleep(0.05)
    assert 1 <= len(begun) == count < 10**5


INTERRUPTED_IMPORT = """
import _imp, threading
from fgclip2_det.io.threads import thread_map

begun, held = threading.Event(), threading.Event()

def call(item):
    if item == 0:  # in this thread
        return
    begun.set()
    held.wait()
    import colorsys

try:
    with thread_map(call, [0, 1], 1):
        begun.wait()
        _imp.acquire_lock()  # as the first line of an import does
        held.set()
        raise KeyboardInterrupt
except KeyboardInterrupt:
    print('interrupted')
"""


def test_interrupted_in_an_import():
    """The lock of imports that stays with the thread does not stop the others."""
    command = [sys.executable, '-c', INTERRUPTED_IMPORT]
    run = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert (run.stdout, run.stderr) == ('interrupted\n', '')


def test_the_first_call_comes_before_the_threads():
    """What a function imports is imported there, where no other thread waits for it."""
    threads = []
    with thread_map(lambda _: threads.append(get_ident()), range(9), 3) as results:
        list(results)
    assert threads[0] == get_ident() and get_ident() not in threads[1:]


def test_interrupted_at_any_moment():
    """While threads start, items are handed over, results are read, or at the end."""
    command = [sys.executable, '-c', INTERRUPTED]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.stderr == '' and int(run.stdout) == ROUNDS
