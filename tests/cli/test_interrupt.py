"""Ctrl-C: one line and 130; the second one ends a command at once."""

import argparse
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fgclip2_det.cli.parsing import parse_and_run, second_interrupt_ends

FORK = multiprocessing.get_context('fork')


def start(command: Callable[[], object], log: Path) -> multiprocessing.Process:
    """A process that runs ``command`` as a tool does."""

    def run() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with log.open('w') as file:
            os.dup2(file.fileno(), 2)
        sys.stderr = os.fdopen(2, 'w', buffering=1)
        parser = argparse.ArgumentParser()
        parser.add_argument('--verbose', action='store_true')
        parse_and_run(parser, lambda _: command(), argv=[])

    process = FORK.Process(target=run, daemon=True)
    process.start()
    return process


def wait_for(is_true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 1800
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


DRAW = """
import argparse, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background job
from fgclip2_det.cli.parsing import parse_and_run
from fgclip2_det.datasets.ovshapes.generate import generate_ovshapes

parser = argparse.ArgumentParser()
parser.add_argument('--verbose', action='store_true')
options = dict(num_train=100_000, image_size=64, num_workers=int(sys.argv[2]))
parse_and_run(parser, lambda _: generate_ovshapes(sys.argv[1], **options), argv=[])
"""


@pytest.mark.parametrize('workers', ['1', '4'])
def test_drawing_a_data_set_ends(tmp_path, workers):
    """Its threads end with the images in hand, of 100,000 that were asked for; what
    was drawn is removed."""
    root = tmp_path / 'data'
    # an interpreter of its own: in a copy of this one, KeyboardInterrupt is lost where
    # it comes while hypothesis' function is called by the garbage collector
    command = [sys.executable, '-c', DRAW, str(root), workers]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: list(root.glob('.tmp-*/train/*3.jpg')))
        process.send_signal(signal.SIGINT)
        errors = process.communicate()[1]
    assert process.returncode == 130
    assert errors.splitlines()[-1] == 'interrupted' and 'Traceback' not in errors
    assert not list(root.iterdir())


def test_the_second_one_ends_at_once(tmp_path):
    """A command that will not go."""
    started, cleaning = tmp_path / 'started', tmp_path / 'cleaning'

    def command() -> None:
        try:
            started.touch()
            time.sleep(1800)
        finally:
            cleaning.touch()
            threading.Event().wait(1800)

    process = start(command, tmp_path / 'log')
    for mark in (started, cleaning):
        wait_for(mark.exists)
        os.kill(process.pid, signal.SIGINT)
    process.join(1800)
    assert process.exitcode == -signal.SIGINT


def test_handlers_of_others_stay():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for handler in (signal.SIG_IGN, lambda *_: None):
        before = signal.signal(signal.SIGINT, handler)
        with second_interrupt_ends():
            assert signal.getsignal(signal.SIGINT) is handler
        signal.signal(signal.SIGINT, before)
    with second_interrupt_ends():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
