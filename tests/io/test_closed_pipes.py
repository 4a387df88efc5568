"""Output that nobody reads ends a command quietly, with the status of its answer."""

import os
import subprocess
import sys

import pytest

from fgclip2_det.io.closed_pipes import UNREAD

PROGRAM = """
import argparse, os, sys
from fgclip2_det.cli.parsing import BAD_ANSWER, parse_and_run

def main(args):
    {body}

parser = argparse.ArgumentParser(description='x' * 100)
parser.add_argument('--verbose', action='store_true')
parse_and_run(parser, main, argv={argv})
"""


def run(body: str, argv=(), closed=('stdout',), unbuffered='') -> tuple[int, str]:
    """Status and stderr of a command whose readers of some streams have left."""
    left, end = os.pipe()
    os.close(left)
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM.format(body=body, argv=list(argv))],
        stdout=end,
        stderr=end if 'stderr' in closed else subprocess.PIPE,
        env=os.environ | {'PYTHONUNBUFFERED': unbuffered},
        check=False,
    )
    os.close(end)
    return done.returncode, (done.stderr or b'').decode()


# what fits into the buffer is written at the end, when the answer is known
@pytest.mark.parametrize(
    ('body', 'argv', 'status'),
    [
        ('print(1)', [], 0),
        ('print(1); sys.exit(BAD_ANSWER)', [], 1),
        ('print("x" * 10**6); sys.exit(BAD_ANSWER)', [], UNREAD),
        ('print(1, flush=True); sys.exit(BAD_ANSWER)', [], UNREAD),
        ('pass', ['--help'], 0),
        ('pass', [], 0),
    ],
)
def test_the_end_is_quiet(body, argv, status):
    assert run(body, argv) == (status, '')


def test_without_a_buffer():
    assert run('print(1); sys.exit(BAD_ANSWER)', unbuffered='1') == (UNREAD, '')


def test_errors_to_a_closed_stderr_end_as_well():
    body = 'from fgclip2_det.io import InputError; raise InputError("no")'
    assert run(f'print(1); {body}') == (2, 'error: no\n')
    assert run(body, closed=('stdout', 'stderr'))[0] == UNREAD


@pytest.mark.parametrize(
    'body',
    [
        'import select; del select.poll; print(1)',
        'from types import SimpleNamespace as Tee; tee = sys.stdout; '
        'sys.stdout = Tee(write=tee.write, flush=tee.flush); print(1)',
    ],
)
def test_without_poll_or_a_file(body):
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM.format(body=body, argv=[])],
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b'1\n', b'')


def test_another_pipe_that_breaks_is_an_error():
    body = 'a, b = os.pipe(); os.close(a); sys.stdout = sys.stderr; os.write(b, b"x")'
    left, end = os.pipe()
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM.format(body=body, argv=[])],
        stdout=end,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(left)
    os.close(end)
    assert done.returncode == 2 and b'BrokenPipeError' in done.stderr
