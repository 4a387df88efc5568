"""Processes of tests, of which several may train together."""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from torch.distributed import TCPStore

WAIT = 1800  # seconds at most
# a process that has imported everything and run nothing, which is copied; a copy of
# this one could not train, after a backward pass
SERVER = multiprocessing.get_context('forkserver')
SERVER.set_forkserver_preload(['fgclip2_det.registration', 'pretrain.registration'])


def torchrun(words: Sequence[object], **variables: str) -> str:
    """Run a Python program in two interpreters; what they have written.

    Args:
        words: the file and its arguments.
        variables: further ones of the environment.
    """
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone']
    command += ['--local-addr', '127.0.0.1', '--nproc-per-node', '2', *map(str, words)]
    done = subprocess.run(
        command,
        env=os.environ | {'OMP_NUM_THREADS': '1'} | variables,
        capture_output=True,
        text=True,
        timeout=WAIT,
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


def fork_two(function: Callable[..., object], *args: object, **variables: str) -> str:
    """Call a function of a module in two copies of a process that has paid for the
    imports; what both have written. They talk through gloo.

    They meet at a store of this process, as those of torchrun meet at its agent's: its
    port is taken from the start, where one that was free may be another's by now.

    Args:
        function: called with ``args``.
        variables: further ones of the environment.
    """
    store = TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False)
    common = variables | dict(
        OMP_NUM_THREADS='1', WORLD_SIZE='2', LOCAL_WORLD_SIZE='2',
        MASTER_ADDR='127.0.0.1', MASTER_PORT=str(store.port),
        TORCHELASTIC_USE_AGENT_STORE='True', TORCHELASTIC_RESTART_COUNT='0',
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        processes, logs = [], [Path(folder, f'{rank}.log') for rank in range(2)]
        for rank, log in enumerate(logs):
            own = common | dict(RANK=str(rank), LOCAL_RANK=str(rank))
            processes.append(_start(own, log, function, args))
        for process in processes:
            process.join(WAIT)
        for process in processes:
            process.kill()
        texts = [log.read_text(encoding='utf-8', errors='replace') for log in logs]
    statuses = [process.exitcode for process in processes]
    assert statuses == [0, 0], '\n'.join(text[-4000:] for text in texts)
    return '\n'.join(texts)


def fork_alone(
    function: Callable[..., object], *args: object, **variables: str
) -> tuple[int | None, str]:
    """As :func:`fork_two`, in one copy: its exit status, and what it has written."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, 'log')
        process = _start(variables, log, function, args)
        process.join(WAIT)
        process.kill()
        return process.exitcode, log.read_text(encoding='utf-8', errors='replace')


def fork_one(
    function: Callable[..., object],
    *args: object,
    killed_at: str | None = None,
    **variables: str,
) -> None:
    """As :func:`fork_alone`, with an end that must be good.

    Args:
        function, args, variables: as there.
        killed_at: the process is killed as soon as it prints this, or a file gets this
            name; it must come to it.
    """
    if killed_at is not None:
        function, args = _killed, (killed_at, function, args)
    code, text = fork_alone(function, *args, **variables)
    assert code == (0 if killed_at is None else -signal.SIGKILL), text[-4000:]


def losses_of_one_and_two(
    words: Sequence[object], folder: Path, **variables: str
) -> dict:
    """What ``benchmarks.processes`` finds with these words, without its launches."""
    from benchmarks import processes

    own = map(str, (*words, '--threads', 1, '--worker', folder))
    args = processes.parser().parse_args(list(own))
    fork_one(processes.worker, args, **variables)
    fork_two(processes.worker, args, **variables)
    records = {world: processes.records_in(args.worker, world) for world in (1, 2)}
    return processes.compare(records)


def _start(
    variables: dict[str, str], log: Path, function: Callable[..., object], args: tuple
) -> multiprocessing.Process:
    place = os.environ | variables, os.getcwd()  # not those of the server's start
    process = SERVER.Process(target=_call, args=(*place, log, function, args))
    log.touch()
    process.start()
    return process


def _call(
    environment: dict[str, str],
    folder: str,
    log: Path,
    function: Callable[..., object],
    args: tuple,
) -> None:
    import torch

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    if number := environment.get('OMP_NUM_THREADS'):
        torch.set_num_threads(int(number))
    function(*args)


def _killed(mark: str, function: Callable[..., object], args: tuple) -> None:
    plain, replace = sys.stdout, os.replace

    class Watched:
        def __getattr__(self, name: str) -> object:
            return getattr(plain, name)

        def write(self, text: str) -> None:
            plain.write(text)
            if mark in text:
                os.kill(os.getpid(), signal.SIGKILL)

    def replace_and_look(source: str, target: str) -> None:
        replace(source, target)
        if os.path.basename(target) == mark:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.stdout, os.replace = Watched(), replace_and_look
    function(*args)
