"""What killed runs have left goes after an hour, and nothing else."""

import os
import time

import pytest

from fgclip2_det.io import leftovers
from fgclip2_det.io.atomic import write_atomic

DEAD = 2**22 + 1  # more than a process number can be


def leave(path, seconds: float, folder: bool = False) -> None:
    if folder:
        path.mkdir()
        (path / 'weights').write_bytes(b'half')
        os.utime(path / 'weights', (time.time() - seconds,) * 2)
    else:
        path.write_bytes(b'half')
    os.utime(path, (time.time() - seconds,) * 2)


def test_only_own_old_ones_go(tmp_path, capsys):
    own, living = f'{DEAD}-{DEAD}', f'{os.getppid()}-{os.getppid()}'
    old = [f'.a.json.{own}-01234567.tmp', f'.x.pkl.{own}-01234567.tmp.pkl']
    old += [f'.b.{own}.tmp']  # of an earlier version
    for name in old:
        leave(tmp_path / name, 3700)
    leave(tmp_path / f'.model.{own}-89abcdef.tmp', 3700, True)
    kept = {f'.c.{own}-01234567.tmp': 1800, f'.d.{living}-01234567.tmp': 9000}
    kept |= {'a.tmp': 9000, f'b.{own}-01234567.tmp': 9000, '.e.tmp': 9000}
    for name, seconds in kept.items():
        leave(tmp_path / name, seconds)
    leave(tmp_path / f'.busy.{own}-89abcdef.tmp', 3700, True)
    (tmp_path / f'.busy.{own}-89abcdef.tmp' / 'weights').write_bytes(b'more')
    for name in ('new', 'again'):
        write_atomic(tmp_path / name, b'')
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {'new', 'again', f'.busy.{own}-89abcdef.tmp', *kept}
    assert capsys.readouterr().err == (
        f'removed 4 temporary files or folders of killed runs from {tmp_path}\n'
    )


@pytest.mark.parametrize('process', [os.getpid(), 1], ids=['own', 'another'])
def test_a_process_that_lives(process):
    assert leftovers.is_alive(process) and not leftovers.is_alive(DEAD)


def test_a_process_that_nobody_has_waited_for():
    process = os.fork()
    if not process:
        os._exit(0)
    os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
    assert not leftovers.is_alive(process)
    os.waitpid(process, 0)
