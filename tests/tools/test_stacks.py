"""``.ci/stacks``: its steps with harmless commands, what stops what, its table."""

import json
import sys
from argparse import Namespace
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest
import yaml

FOLDER = Path(__file__).resolve().parents[2] / '.ci'


@pytest.fixture
def stacks(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    loader = SourceFileLoader('stacks_script', str(FOLDER / 'stacks'))
    module = module_from_spec(spec_from_loader('stacks_script', loader))
    loader.exec_module(module)
    return module


@pytest.fixture
def steps(stacks) -> ModuleType:
    return sys.modules['stack_steps']


def runner(stacks, steps, out: Path, name: str = 'pinned', **options):
    """A runner of a stack whose environment is there already: this one."""
    args = stacks.parse([name, '--out', str(out)])
    vars(args).update(options)
    [stack] = [stack for stack in stacks.STACKS if stack.name == name]
    made = steps.Runner(stack, args)
    made.folder.mkdir(parents=True, exist_ok=True)
    (made.folder / 'complete').touch()
    made.python = sys.executable
    return made


def test_there_is_a_stack_for_each_kind_of_user(stacks):
    known = {stack.name: stack for stack in stacks.STACKS}
    pythons = {stack.python for stack in stacks.STACKS}
    assert pythons == {'3.10', '3.11', '3.12', '3.13'}
    text = str(known['openmmlab'].installs)
    for pin in ('mmengine==0.10.7', 'mmcv==2.1.0', 'mmdet==3.3.0'):
        assert pin in text
    assert 'mm' not in str(known['no-mm'].installs).replace('constraints', '')
    assert 'onedl-mmcv' in str(known['no-mmdet'].installs)
    assert 'mmdet' not in str(known['no-mmdet'].installs)


def test_the_workflow_runs_every_stack_on_its_python(stacks):
    path = FOLDER.parent / '.github' / 'workflows' / 'tests.yml'
    jobs = yaml.safe_load(path.read_text())['jobs']
    entries = jobs['stacks']['strategy']['matrix']['include']
    pythons = [
        (name, entry['python']) for entry in entries for name in entry['stacks'].split()
    ]
    assert pythons == [(stack.name, stack.python) for stack in stacks.STACKS]
    actions = [
        step['uses'].split('@')[1]
        for job in jobs.values()
        for step in job['steps']
        if 'uses' in step
    ]
    assert actions and all(len(commit) == 40 for commit in actions)


def test_ops_come_from_a_wheel_or_are_built(stacks, steps, tmp_path):
    made = runner(stacks, steps, tmp_path, 'compiled', wheel=Path('some.whl'))
    [(variables, words)] = made.compiled_ops()
    assert words[-1] == 'some.whl' and not variables
    made.args.wheel = None
    variables, words = made.compiled_ops()[-1]
    assert variables == {'MMCV_WITH_OPS': '1'}
    assert '--no-build-isolation' in words and words[-1].startswith('onedl-mmcv==')
    assert runner(stacks, steps, tmp_path, 'pinned').compiled_ops() == []


def test_a_step_that_fails_stops_no_other(stacks, steps, tmp_path, monkeypatch):
    made = runner(stacks, steps, tmp_path)
    code = 'import sys; print("first\\nlast line"); sys.exit(3)'
    monkeypatch.setattr(
        made, 'main_job', lambda: made.command([sys.executable, '-c', code], 'job')
    )
    monkeypatch.setattr(made, 'install', lambda: '')
    monkeypatch.setattr(made, 'tests', lambda: '12 passed')
    result = made.run()
    actual = {step['name']: (step['outcome'], step['note']) for step in result['steps']}
    assert actual['main job'] == ('failed', 'exit code 3: last line')
    assert actual['checkpoint'] == ('not run', 'no checkpoint given')
    assert actual['tests'] == ('passed', '12 passed')
    assert actual['comparison'][0] == 'not run'
    assert result['outcome'] == 'failed'
    log = (tmp_path / 'logs' / 'pinned' / 'job.log').read_text()
    assert log.startswith(f'+ {sys.executable} -c') and log.endswith('last line\n')


def test_one_step_again(stacks, steps, tmp_path, monkeypatch):
    """Logs and results of the others stay."""
    made = runner(stacks, steps, tmp_path, only=['tests'])
    made.known = {
        name: dict(name=name, outcome=outcome, seconds=9.0, note='earlier')
        for name, outcome in (('main job', 'passed'), ('tests', 'failed'))
    }
    made.logs.mkdir(parents=True)
    (made.logs / 'train.log').touch()
    monkeypatch.setattr(made, 'install', lambda: 'kept')
    monkeypatch.setattr(made, 'tests', lambda: '12 passed')
    result = made.run()
    assert [(step['name'], step['note']) for step in result['steps']] == [
        ('install', 'kept'), ('main job', 'earlier'), ('tests', '12 passed')
    ]  # fmt: skip
    assert result['outcome'] == 'passed' and (made.logs / 'train.log').exists()
    assert stacks.parse(['pinned', '--only', 'tests']).keep


def test_a_missing_python_is_not_run(stacks, steps, tmp_path, monkeypatch):
    made = runner(stacks, steps, tmp_path, 'python3.12')
    (made.folder / 'complete').unlink()
    monkeypatch.setattr(steps.shutil, 'which', lambda name: None)
    result = made.run()
    assert result['outcome'] == 'not run'
    [step] = result['steps']
    assert step['note'] == 'no Python 3.12 found'


def test_pytest_counts(steps):
    count = steps.count_tests
    assert count('1 failed, 3 passed, 2 skipped, 9 warnings in 3.21s') == (
        '1 failed, 3 passed, 2 skipped'
    )
    assert count('=== 4 passed in 100.10s (0:01:40) ===') == '4 passed'
    assert count('no tests ran in 0.01s') == ''


def test_tests_that_all_skip_are_not_passed(stacks, steps, tmp_path, monkeypatch):
    made = runner(stacks, steps, tmp_path)
    monkeypatch.setattr(made, 'command', lambda *words, **_: '5 skipped in 0.10s')
    assert not made.step('tests', made.tests)
    assert made.steps[-1]['outcome'] == 'not run'


@pytest.mark.parametrize(('value', 'passes'), [(0.9415, True), (0.9385, False)])
def test_a_checkpoint_keeps_its_ap(
    stacks, steps, tmp_path, monkeypatch, value: float, passes: bool
):
    """0.002 is what stacks may differ by; 0.9405 is in the metrics.json beside it."""
    names = steps.METRICS
    (tmp_path / 'epoch_3.pth').touch()
    (tmp_path / 'metrics.json').write_text(json.dumps(dict.fromkeys(names, 0.9405)))
    made = runner(stacks, steps, tmp_path, checkpoint=tmp_path / 'epoch_3.pth')
    tested = {names[0]: 0.9405, names[1]: value}
    monkeypatch.setattr(made, 'tool', lambda *words: tested)
    assert made.step('checkpoint', made.checkpoint) == passes
    assert made.steps[-1]['note'].startswith(f'0.9405 / {value:.4f}')


def test_results_of_other_stacks_stay(stacks, tmp_path):
    step = dict(name='tests', outcome='failed', seconds=2.4, note='1 failed, 3 | 4')
    rows = [
        dict(name=name, about='about', outcome='failed', steps=[step],
             versions={'python': '3.11.7', 'mmcv._ext': 'mmcv/_ext.so'})
        for name in ('pinned', 'compiled')
    ]  # fmt: skip
    stacks.write(rows[:1], tmp_path)
    stacks.write(rows[1:], tmp_path)
    read = json.loads((tmp_path / 'stacks.json').read_text())
    assert [row['name'] for row in read] == ['compiled', 'pinned']
    lines = (tmp_path / 'stacks.md').read_text().splitlines()
    assert len(lines) == 4 and len({line.count('|') for line in lines}) == 1
    assert 'python 3.11.7, compiled ops' in lines[2]
    assert 'failed: 1 failed, 3 / 4 (2 s)' in lines[2]


@pytest.mark.parametrize(
    ('outcomes', 'code'),
    [(['passed', 'failed'], 1), (['passed', 'not run'], 0), (['not run'], 1)],
)
def test_exit_code(stacks, tmp_path, monkeypatch, outcomes: list[str], code: int):
    """Every stack is run, whatever became of those before it."""
    ran = []

    class Scripted:
        def __init__(self, stack, args: Namespace, known: dict | None) -> None:
            self.name, self.folder = stack.name, args.env_dir / stack.name

        def run(self) -> dict:
            ran.append(self.name)
            outcome = outcomes[len(ran) - 1]
            return dict(
                name=self.name, about='', outcome=outcome, versions={}, steps=[]
            )

    monkeypatch.setattr(stacks, 'Runner', Scripted)
    names = ['openmmlab', 'no-mm'][: len(outcomes)]
    tmp_path.joinpath('out').mkdir()
    assert stacks.main([*names, '--out', str(tmp_path / 'out')]) == code
    assert ran == names


def test_an_unknown_stack(stacks, capsys):
    with pytest.raises(SystemExit):
        stacks.parse(['python2.7'])
    assert "unknown stacks ['python2.7']; there are compiled" in capsys.readouterr().err
