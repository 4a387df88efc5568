"""``fgclip2-det``: every tool is a sub-command, and the tools call it."""

import argparse
import ast
from importlib import import_module
from pathlib import Path

import pytest

from fgclip2_det import cli
from fgclip2_det.cli import parsing

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(['--help'])
    text = capsys.readouterr().out
    assert stop.value.code == 0 and text.startswith('usage: fgclip2-det')
    for name, module in cli.commands().items():
        first = import_module(f'fgclip2_det.cli.{module}').__doc__.split()[0]
        assert f'  {name} ' in text and first in text


@pytest.mark.parametrize('module', sorted(cli.commands().values()))
def test_every_command_has_a_tool(module: str):
    text = (TOOLS / f'{module}.py').read_text(encoding='utf-8')
    assert f"run('{module}')" in text and len(text.splitlines()) < 12
    assert ast.get_docstring(ast.parse(text))
    parser = import_module(f'fgclip2_det.cli.{module}').parser()
    assert f'tools/{module}.py' in parser.epilog


def test_arguments_go_to_the_command(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(['check-vocabulary', '--help'])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith('usage: fgclip2-det check-vocabulary')


@pytest.mark.parametrize('words', [[], ['trian'], ['--verbose']])
def test_no_such_command(capsys, words: list[str]):
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    assert stop.value.code == 2 and 'usage: fgclip2-det' in capsys.readouterr().err


def test_errors_are_one_sentence(capsys, tmp_path):
    words = ['--protocol', 'coco', '--ann', tmp_path / 'absent.json', '--predictions']
    words += [tmp_path / 'rows.json', '--out', tmp_path / 'out.json']
    with pytest.raises(SystemExit) as stop:
        cli.main(['evaluate', *map(str, words)])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.startswith('error: ') and 'absent' in error
    assert error.count('\n') == 1


def test_configs_and_tools_are_found():
    assert (TOOLS.parent, TOOLS) == (parsing.ROOT, parsing.TOOLS)


@pytest.fixture
def command(tmp_path, capsys):
    """run(*words) -> exit code and stderr; main counts its calls."""
    parser = argparse.ArgumentParser()
    for name in ('--out', '--picture', '--ann', '--names'):
        parser.add_argument(name)
    parser.add_argument('--predictions', nargs='+')
    parser.add_argument('--verbose', action='store_true')
    calls = []

    def run(*words, main=calls.append):
        try:
            parsing.parse_and_run(parser, main, argv=[str(word) for word in words])
        except SystemExit as stop:
            return stop.code, capsys.readouterr().err
        return 0, capsys.readouterr().err

    run.calls = calls
    return run


@pytest.mark.parametrize('option', ['--out', '--picture'])
def test_an_output_that_is_an_input_is_refused(command, tmp_path, option):
    for name in ('ann.json', 'a.json', 'b.json'):
        (tmp_path / name).write_text(name)
    (tmp_path / 'link.json').symlink_to('b.json')
    (tmp_path / 'hard.json').hardlink_to(tmp_path / 'ann.json')
    words = ['--ann', tmp_path / 'ann.json', '--predictions', tmp_path / 'a.json',
             tmp_path / 'b.json', '--names', 'x' * 5000]  # fmt: skip
    for name, other in (('link.json', 'predictions'), ('hard.json', 'ann'),
                        ('a.json', 'predictions')):  # fmt: skip
        code, err = command(*words, option, tmp_path / name)
        assert code == 2 and not command.calls
        assert f'{option} {tmp_path / name} is the file of {other}' in err
    (tmp_path / 'earlier.json').write_text('')
    assert command(*words, option, tmp_path / 'earlier.json') == (0, '')
    assert command(*words, option, tmp_path / 'new.json') == (0, '')
    assert len(command.calls) == 2


def test_ctrl_c_is_one_word(command):
    def main(args):
        raise KeyboardInterrupt

    assert command(main=main) == (130, 'interrupted\n')
