"""Files that are there in full or not at all."""

import os
import threading

import pytest

from fgclip2_det.io.atomic import open_atomic, temporary_path, write_atomic


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / 'new' / 'a.json'
    write_atomic(path, b'old')
    with pytest.raises(KeyError), open_atomic(path) as file:
        file.write(b'half')
        raise KeyError
    assert path.read_bytes() == b'old' and os.listdir(path.parent) == ['a.json']


def test_two_writers_of_one_file(tmp_path):
    """Each has a temporary file of its own; the one that ends last stays."""
    path = tmp_path / 'a.json'
    names, barrier = [], threading.Barrier(2)

    def write(number: int) -> None:
        with temporary_path(path) as temporary:
            names.append(temporary.name)
            temporary.write_bytes(bytes([number]) * 100)
            barrier.wait(10)

    threads = [threading.Thread(target=write, args=[n]) for n in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({*names}) == 2 and all(str(os.getpid()) in name for name in names)
    assert path.read_bytes() in (b'\1' * 100, b'\2' * 100)
    assert os.listdir(tmp_path) == ['a.json']


def test_a_suffix_that_a_writer_insists_on(tmp_path):
    with temporary_path(tmp_path / 'new' / 'a.pkl', '.pkl') as temporary:
        assert temporary.suffix == '.pkl' and temporary.name.startswith('.a.pkl.')
        temporary.write_bytes(b'1')
    assert os.listdir(tmp_path / 'new') == ['a.pkl']


def test_a_pipe_is_written_through(tmp_path):
    path = tmp_path / 'pipe'
    os.mkfifo(path)
    received = []
    reader = threading.Thread(target=lambda: received.append(path.read_bytes()))
    reader.start()
    write_atomic(path, b'rows')
    reader.join(30)
    assert received == [b'rows'] and path.is_fifo()


def test_a_link_under_the_temporary_name_is_not_followed(tmp_path):
    path, elsewhere = tmp_path / 'a.json', tmp_path / 'elsewhere'
    elsewhere.write_bytes(b'kept')
    with temporary_path(path) as temporary:
        name = temporary.name
        temporary.write_bytes(b'old')
    (tmp_path / name).symlink_to(elsewhere)  # the same process and thread
    write_atomic(path, b'new')
    assert elsewhere.read_bytes() == b'kept' and path.read_bytes() == b'new'
    assert not path.is_symlink()
