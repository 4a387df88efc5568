"""Writers side by side: of one file, of caches, of one work dir."""

import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from fgclip2_det import FGCLIP2, Vocabulary
from fgclip2_det.io.atomic import write_atomic
from fgclip2_det.io.locks import FolderUse, held_folder, locked

ROOT = Path(__file__).resolve().parents[2]
WAIT = 1800  # seconds at most, for anything
FORK = multiprocessing.get_context('fork')


def start(function, *args) -> multiprocessing.Process:
    process = FORK.Process(target=function, args=args, daemon=True)
    process.start()
    return process


def finish(*processes: multiprocessing.Process) -> None:
    for process in processes:
        process.join(WAIT)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def write_often(path: Path, number: int) -> None:
    for _ in range(30):
        write_atomic(path, bytes([number]) * 100_000)


def test_a_reader_beside_four_writers_sees_whole_files(tmp_path):
    path = tmp_path / 'a.bin'
    write_atomic(path, bytes([0]) * 100_000)
    writers = [start(write_often, path, number) for number in range(4)]
    while any(writer.is_alive() for writer in writers):
        content = path.read_bytes()
        assert content == content[:1] * 100_000
    finish(*writers)
    assert os.listdir(tmp_path) == ['a.bin']


@pytest.fixture(scope='module')
def encoder() -> FGCLIP2:
    return FGCLIP2.from_pretrained('fgclip2_tiny')


@pytest.mark.parametrize('size', ['none', '3K'], ids=['all stay', 'most are removed'])
def test_a_vocabulary_cache_in_threads(encoder, tmp_path, monkeypatch, size):
    """Each round six threads want the same two vocabularies; with a small limit those
    of other rounds and threads are removed under their hands."""
    monkeypatch.setenv('FGCLIP2_CACHE_SIZE', size)
    rounds = [[f'cat {i}', f'狗 {i}'] for i in range(4)]
    expected = [Vocabulary(names).embed(encoder) for names in rounds]
    wrong: list[object] = []

    def embed(first: int) -> None:
        try:
            for i in range(len(rounds)):
                i = (i + first) % len(rounds)
                actual = Vocabulary(rounds[i]).embed(encoder, tmp_path)
                if not torch.equal(actual, expected[i]):
                    wrong.append(i)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=embed, args=[n // 3]) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    number = len(list(tmp_path.iterdir()))
    # two that make room at the same moment may remove each other's file
    assert number == 4 if size == 'none' else number < 4


def fill_features(folder: Path, own: int) -> None:
    """16 maps of which half are those of the next process; every process has rank 0."""
    from fgclip2_det.datasets.feature_cache import FeatureCache, FeatureWriter

    with FeatureWriter(FeatureCache(folder, 'a'), shard_bytes=100) as writer:
        for i in range(8 * own, 8 * own + 16):
            writer.add(str(i), torch.full((4, 2, 3), float(i)), (20, 30))


def test_a_feature_cache_filled_by_processes(tmp_path):
    pytest.importorskip('mmengine')
    from fgclip2_det.datasets.feature_cache import FeatureCache

    finish(*[start(fill_features, tmp_path, number) for number in range(4)])
    cache = FeatureCache(tmp_path, 'a')
    assert cache.keys() == {str(i) for i in range(40)}
    for key in cache.keys():  # noqa: SIM118
        assert cache.read(key)[0].unique().tolist() == [float(key)]
    stored = [cache._keys_of(path) for path in tmp_path.glob('*.safetensors')]
    assert sum(map(len, stored)) == 40  # nothing twice


def add_often(folder: Path) -> None:
    for _ in range(50):
        with locked(folder):
            path = folder / 'count'
            path.write_text(str(int(path.read_text()) + 1))


def test_one_at_a_time_in_a_lock(tmp_path):
    (tmp_path / 'count').write_text('0')
    finish(*[start(add_often, tmp_path) for _ in range(3)])
    assert (tmp_path / 'count').read_text() == '150'


def hold(folder: Path, held, end) -> None:
    with held_folder(folder, 'training', 'or choose another --work-dir'):
        held.set()
        end.wait(WAIT)


@pytest.fixture
def holder(tmp_path):
    """A process that holds ``tmp_path / 'run'`` and ends when asked to."""
    held, end = FORK.Event(), FORK.Event()
    process = start(hold, tmp_path / 'run', held, end)
    assert held.wait(WAIT)
    yield process, end
    process.kill()
    process.join()


def test_two_trainings_in_one_work_dir(holder, tmp_path, monkeypatch, capsys):
    """The second is refused before it writes anything; when the first has ended, or
    was killed, the folder is free at once."""
    pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')
    from fgclip2_det import cli

    process, _ = holder
    monkeypatch.setenv('OVSHAPES_ROOT', str(tmp_path / 'data'))
    before = set((tmp_path / 'run').iterdir())
    words = [str(ROOT / 'configs/ovd_fgclip2.py'), '--work-dir', str(tmp_path / 'run')]
    options = ['--cfg-options', 'num_train=2', 'num_val=1', 'image_size=64']
    with pytest.raises(SystemExit) as stop:
        cli.run('train', [*words, *options])
    last = capsys.readouterr().err.splitlines()[-1]
    assert stop.value.code
    who = f'a training, process {process.pid} on {socket.gethostname()} since '
    assert last.startswith(f'error: {tmp_path / "run"} is in use by {who}')
    assert last.endswith('wait until it has ended, or choose another --work-dir')
    assert set((tmp_path / 'run').iterdir()) == before
    process.kill()
    process.join()
    with held_folder(tmp_path / 'run', 'sweep', ''):
        assert 'sweep' in (tmp_path / 'run/.holder.json').read_text()
    assert not list((tmp_path / 'run').iterdir())


def test_waiting_for_a_holder(holder, tmp_path):
    process, end = holder
    threading.Timer(0.2, end.set).start()
    with held_folder(tmp_path / 'run', 'training', '', wait=WAIT):
        process.join()


def test_forks_of_a_holder_do_not_keep_the_folder(tmp_path):
    """Workers of a data loader may outlive a killed training by seconds."""
    with held_folder(tmp_path, 'training', ''):
        worker = start(time.sleep, WAIT)
    with held_folder(tmp_path, 'training', ''):
        pass
    use = FolderUse(tmp_path)
    other = start(time.sleep, WAIT)
    assert not use.is_shared()
    second = FolderUse(tmp_path)
    assert use.is_shared() and second.is_shared()
    second.end()
    assert not use.is_shared()
    use.end()
    for process in (worker, other):
        process.kill()
        process.join()
    assert not list(tmp_path.iterdir())


CHILD = """
import sys, time
from fgclip2_det.io.child_processes import end_with_parent
assert end_with_parent()
print('started', flush=True)
time.sleep(1800)
"""
PARENT = """
import subprocess, sys
from fgclip2_det.io.child_processes import environment_of_child
subprocess.run([sys.executable, '-c', sys.argv[1]], env=environment_of_child())
"""


def test_a_killed_sweep_ends_its_training(tmp_path):
    process = subprocess.Popen(
        [sys.executable, '-c', PARENT, CHILD],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == 'started\n'
    process.kill()
    _, errors = process.communicate(timeout=WAIT)  # ends when the child does
    assert f'process {process.pid}, which started this one, has ended' in errors
