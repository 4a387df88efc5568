"""Files that are there in full or not at all."""

import os
import threading

import pytest

from fgclip2_det.io.atomic import (
    UnwritableError,
    open_atomic,
    temporary_folder,
    temporary_path,
    write_atomic,
)


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
            barrier.wait(1800)

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
    reader.join(1800)
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


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('folder', 'folder cannot be written (Is a directory): it is a folder; name a'),
        (
            'file/a',
            'file/a cannot be written (File exists): a part of its path is a file',
        ),
        ('file/b/a', 'file/b/a cannot be written (Not a directory): a part of its'),
        ('/dev/full', '/dev/full cannot be written (No space left on device): make ro'),
        ('n' * 300, 'n cannot be written (File name too long): give it a shorter name'),
    ],
)
def test_what_cannot_be_written_is_named(tmp_path, name, message):
    """As the caller named it; and no temporary file stays."""
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'file').write_bytes(b'')
    with pytest.raises(UnwritableError) as error:
        write_atomic(tmp_path / name, b'data')
    assert message in str(error.value)
    assert sorted(os.listdir(tmp_path)) == ['file', 'folder']


def test_errors_of_what_a_block_reads_pass(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere'), open_atomic(tmp_path / 'a'):
        (tmp_path / 'nowhere').read_bytes()


def test_a_folder_is_there_as_a_whole(tmp_path):
    """New, or over another one: a reader that needs ``last`` never sees a mixture."""
    seen = []

    def write(*names: str, fail: bool = False) -> None:
        with temporary_folder(tmp_path / 'model', 'config') as folder:
            for name in names:
                (folder / name).write_text(' '.join(names))
            seen.append(os.listdir(tmp_path))
            if fail:
                raise KeyError

    with pytest.raises(KeyError):
        write('config', fail=True)
    assert os.listdir(tmp_path) == []
    write('config', 'weights')
    assert 'model' not in seen[1] and os.listdir(tmp_path) == ['model']
    with pytest.raises(KeyError):
        write('config', 'weights', 'tokenizer', fail=True)
    files = {path.name: path.read_text() for path in (tmp_path / 'model').iterdir()}
    assert files == dict.fromkeys(('config', 'weights'), 'config weights')
    write('config', 'tokenizer')
    files = {path.name: path.read_text() for path in (tmp_path / 'model').iterdir()}
    assert files['config'] == files['tokenizer'] == 'config tokenizer'


@pytest.mark.parametrize('name', ['config', 'weights'])
def test_a_folder_in_the_place_of_a_file(tmp_path, name):
    """It is named, before anything of the old folder is removed."""
    model = tmp_path / 'model'
    (model / name).mkdir(parents=True)
    other = model / ('weights' if name == 'config' else 'config')
    other.write_text('old')
    with (
        pytest.raises(UnwritableError, match=rf'model.{name} cannot be written'),
        temporary_folder(model, 'config') as folder,
    ):
        for each in ('config', 'weights'):
            (folder / each).write_text('new')
    assert other.read_text() == 'old' and os.listdir(tmp_path) == ['model']
