"""One sentence for what this package refuses, a traceback for everything else."""

import argparse
import multiprocessing
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


def refuse(number: int) -> None:
    from fgclip2_det.engine.options import parse_value

    parse_value('[a,b')


def test_errors_of_a_pool(errors):
    with multiprocessing.get_context('fork').Pool(1) as pool:
        assert errors.is_input_error(caught(pool.map, refuse, [1]))
        assert not errors.is_input_error(caught(pool.map, int, ['x']))


@pytest.fixture
def errors(monkeypatch):
    from fgclip2_det.cli import errors as _errors

    return _errors


def caught(function, *args) -> Exception:
    with pytest.raises(Exception) as info:
        function(*args)
    return info.value


def test_whose_mistake(errors):
    from fgclip2_det.engine.options import parse_value
    from fgclip2_det.vocabulary import Vocabulary

    refused = caught(parse_value, '[a,b')
    assert errors.is_input_error(refused)
    assert errors.sentence_of(refused) == "brackets in '[a,b' do not match"
    assert errors.is_input_error(caught(Vocabulary, []))
    for error in (
        caught(torch.empty(2).expand, -5),
        caught(torch.zeros(2, 3).reshape, 5),
        caught(int, 'x'),  # the test's own frame, not the package's
    ):
        assert not errors.is_input_error(error)
        assert errors.sentence_of(error).startswith(type(error).__name__)


def test_python_itself_in_a_package_frame(errors):
    """``int('x')`` in this package's code is a bug there, not a sentence."""
    names = {'__name__': 'fgclip2_det.somewhere'}
    code = """
from pathlib import Path
def convert(x): return int(x)
def refuse(): raise ValueError("no")
def read(path): return Path(path).read_text()
"""
    exec(code, names)
    assert not errors.is_input_error(caught(names['convert'], 'x'))
    assert errors.is_input_error(caught(names['refuse']))
    assert errors.is_input_error(caught(names['read'], 'nowhere.txt'))
    assert not errors.is_input_error(caught(torch.load, 'nowhere.pth'))


def test_errors_of_workers(errors):
    text = (
        'Caught ValueError in DataLoader worker process 0.\nOriginal Traceback (most '
        'recent call last):\n  File "/x/torch/utils/data/_utils/worker.py", line 1, in '
        'f\n    data = fetch()\n  File "/x/fgclip2_det/datasets/a.py", line 2, in g\n'
        '    raise ValueError(\nValueError: a.jpg is no picture;\nleave it out\n'
    )
    error = ValueError(text)
    assert errors.is_input_error(error)
    assert errors.sentence_of(error) == 'a.jpg is no picture; leave it out'
    assert not errors.is_input_error(ValueError(text.replace('fgclip2_det', 'mmdet')))
    assert not errors.is_input_error(ValueError(text.replace('raise V', 'x = V')))


def test_the_log_file_has_the_place(errors, tmp_path, capsys, monkeypatch):
    """A bug in a training: traceback on the screen and in the log of its work dir; a
    refused input: in the log alone."""
    logging = pytest.importorskip('mmengine.logging')
    from fgclip2_det.cli import parsing as _cli
    from fgclip2_det.engine.options import parse_value

    def run(function) -> str:
        parser = argparse.ArgumentParser()
        parser.add_argument('--verbose', action='store_true')
        monkeypatch.setattr(sys, 'argv', ['tool.py'])
        with pytest.raises(SystemExit) as stop:
            _cli.parse_and_run(parser, lambda args: function())
        assert stop.value.code == 2
        return capsys.readouterr().err

    path = tmp_path / 'run.log'
    logging.MMLogger.get_instance(f'log_{tmp_path.name}', log_file=str(path))
    try:
        err = run(lambda: torch.zeros(2, 3).reshape(5))
        assert err.startswith('Traceback') and 'reshape(5)' in err
        assert err.splitlines()[-1].startswith('error: RuntimeError: shape')
        assert f'log: {path}' in err and 'reshape(5)' in path.read_text()
        err = run(lambda: parse_value('[a,b'))
        assert err == "error: brackets in '[a,b' do not match\n"
        assert 'raise ValueError(f' in path.read_text()
    finally:
        del logging.MMLogger._instance_dict[f'log_{tmp_path.name}']
