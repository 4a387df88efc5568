"""Stop commands at their file events, start them again, and compare what they leave.

    python tests/kill/killer.py                        # every point of every command
    python tests/kill/killer.py --points 3 --commands dump shards --out table.json

Commands run in forks of this process, which has imported everything: a stopped one has
no chance to clean up, as if killed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from commands import COMMANDS, Command, left_behind
from events import STOPPED, Stopper


@dataclass
class Row:
    """What came of a command."""

    command: str
    events: int
    points: int = 0
    equal: int = 0
    left: int = 0  # temporary files and folders that stopped runs left, in all
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0


def in_fork(function: Callable[[], object], log: Path) -> int:
    """Exit status of a fork that calls ``function``, its output in a file."""
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    status = 1
    try:
        with log.open('w') as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        function()
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def run_whole(command: Command, folder: Path) -> int:
    """Run a command to its end; how many events it has."""
    counted = folder / 'events'
    stopper = Stopper(str(folder), None, command.ignored)

    def run() -> None:
        stopper.install()
        command.run(folder)
        counted.write_text(str(stopper.count))

    if in_fork(run, folder / 'log'):
        raise RuntimeError((folder / 'log').read_text())
    return int(counted.read_text())


def stop_and_restart(command: Command, folder: Path, point: int) -> str:
    """What went wrong; empty if the outcome can be compared."""

    def stopped() -> None:
        Stopper(str(folder), point, command.ignored).install()
        command.run(folder)

    status = in_fork(stopped, folder / 'log')
    if status != STOPPED:
        return f'point {point}: not reached, exit {status}'
    status = in_fork(lambda: command.run(folder), folder / 'log')
    last = (folder / 'log').read_text().strip().splitlines()[-1:]
    return f'point {point}: restarted with exit {status}: {last}' if status else ''


def try_command(name: str, number: int | None, scratch: Path) -> Row:
    """Stop a command at ``number`` points spread over its events, or at all."""
    command, start = COMMANDS[name], time.perf_counter()
    inputs, folder = scratch / 'inputs', scratch / 'work'
    inputs.mkdir()
    if in_fork(lambda: command.prepare(inputs), scratch / 'log'):
        raise RuntimeError((scratch / 'log').read_text())

    def renew() -> None:  # at one path, which outputs may contain
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(inputs, folder)

    renew()
    row = Row(name, run_whole(command, folder))
    expected = command.outcome(folder)
    assert expected, f'{name} leaves nothing to compare'
    for point in spread(row.events, number):
        renew()
        row.points += 1
        fault = stop_and_restart(command, folder, point)
        row.left += left_behind(folder)
        actual = {} if fault else command.outcome(folder)
        differing = sorted(
            key
            for key in actual.keys() | expected.keys()
            if actual.get(key) != expected.get(key)
        )
        if not fault and differing:
            fault = f'point {point}: {len(differing)} differ, {differing[0]}'
        row.equal += not fault
        row.faults += [fault] if fault else []
    row.seconds = round(time.perf_counter() - start, 1)
    return row


def spread(events: int, number: int | None) -> list[int]:
    """``number`` points of 0 .. events - 1, the last among them."""
    if number is None or number >= events:
        return list(range(events))
    return sorted({events - 1 - k * events // number for k in range(number)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument(
        '--points', default='all', help='of each command: all, a number, or JSON'
    )
    parser.add_argument('--commands', nargs='+', choices=COMMANDS, default=[*COMMANDS])
    parser.add_argument('--out', type=Path, help='JSON file')
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)  # threads do not survive a fork
    import matplotlib.pyplot  # noqa: F401
    import mmdet.apis  # noqa: F401
    import tqdm
    from yapf.yapflib import yapf_api

    import fgclip2_det.registration
    import pretrain.registration
    from fgclip2_det import OpenVocabInferencer  # noqa: F401

    tqdm.tqdm.monitor_interval = 0  # no thread
    # the layout of a config's text takes half of a short training
    yapf_api.FormatCode = lambda text, **_: (text, True)
    points = None if args.points == 'all' else json.loads(args.points)
    rows = []
    for name in args.commands:
        number = points[name] if isinstance(points, dict) else points
        with tempfile.TemporaryDirectory() as scratch:
            rows.append(try_command(name, number, Path(scratch)))
        row = rows[-1]
        print(
            f'{name}: {row.events} events, {row.points} points, {row.equal} equal, '
            f'{row.left} left, {row.seconds} s',
            *row.faults, sep='\n  ', flush=True,
        )  # fmt: skip
        if args.out:
            args.out.write_text(json.dumps([asdict(r) for r in rows], indent=1))
    sys.exit(any(row.faults for row in rows))


if __name__ == '__main__':
    main()
