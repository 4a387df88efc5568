"""The steps of one stack: build it, run what applies, keep what came out."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from stack_list import OLD_SETUPTOOLS, OTHER_TORCH, PINNED, Stack, pip

ROOT = Path(__file__).resolve().parents[1]
COMPARISON = 'tests/compat/test_compiled_ops.py'
METRICS = [f'open_vocab/{name}_ap50' for name in ('base', 'novel')]
TOLERANCE = 0.002  # of a checkpoint's AP50, between stacks
PROBE = """
import importlib, importlib.metadata as m, json, platform
found = {'python': platform.python_version()}
for name in ('torch', 'torchvision', 'numpy', 'transformers', 'onedl-mmengine',
             'onedl-mmcv', 'onedl-mmdetection', 'mmengine', 'mmcv', 'mmdet'):
    try:
        found[name] = m.version(name)
    except m.PackageNotFoundError:
        pass
try:
    import torch
    found['mmcv._ext'] = importlib.import_module('mmcv._ext').__file__
except ImportError:
    pass
print(json.dumps(found))
"""


class NotRun(Exception):
    """A step or a stack for which something is missing."""


class Failed(Exception):
    """A step that did not do what it should."""


def find_python(version: str, given: list[str]) -> str:
    """An interpreter of ``version`` ('3.12'): as given, on PATH, or pyenv's."""
    root = Path(os.environ.get('PYENV_ROOT', Path.home() / '.pyenv'))
    names = [path for v, _, path in (word.partition('=') for word in given)
             if v == version]  # fmt: skip
    names += [f'python{version}', 'python3']
    names += map(str, root.glob(f'versions/{version}.*/bin/python'))
    code = 'import sys; print("%d.%d" % sys.version_info[:2])'
    for name in names:
        if shutil.which(name):
            done = subprocess.run([name, '-c', code], capture_output=True, text=True)
            if done.stdout.strip() == version:
                return name
    raise NotRun(f'no Python {version} found')


def count_tests(output: str) -> str:
    """pytest's closing counts: '120 passed, 3 skipped'."""
    lines = re.findall(r'^=* ?((?:\d+ \w+,? ?)+) in [\d.]+s', output, re.MULTILINE)
    counts = lines[-1].split(', ') if lines else []
    return ', '.join(count for count in counts if 'warning' not in count)


class Runner:
    """Runs the steps of one stack and keeps what came out.

    Args:
        stack: what to build and run.
        args: of the command line; with ``args.only`` other steps keep their ``known``
            results.
        known: an earlier result of this stack.
    """

    def __init__(
        self, stack: Stack, args: argparse.Namespace, known: dict | None = None
    ) -> None:
        self.stack, self.args = stack, args
        self.known = {step['name']: step for step in (known or {}).get('steps', ())}
        self.folder = args.env_dir / stack.name
        self.logs = args.out / 'logs' / stack.name
        self.python = str(self.folder / 'bin' / 'python')
        self.steps: list[dict] = []
        self.versions: dict[str, str] = {}

    def command(self, words: list[str], log: str, **variables: str) -> str:
        """Output of a command, also written to a log; Failed unless it exits with 0."""
        environment = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
        path = self.logs / f'{log}.log'
        with path.open('a') as file:
            assigned = [f'{name}={value}' for name, value in variables.items()]
            file.write(f'+ {" ".join([*assigned, *words])}\n')
            file.flush()
            start = file.tell()
            try:
                code = subprocess.run(
                    words, cwd=ROOT, env=environment | variables, stdout=file,
                    stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                    timeout=self.args.timeout,
                ).returncode  # fmt: skip
            except subprocess.TimeoutExpired:
                raise Failed(f'stopped after {self.args.timeout} s') from None
        output = path.read_bytes()[start:].decode(errors='replace')
        if code:
            last = output.strip().rsplit('\n', 1)[-1]
            raise Failed(count_tests(output) or f'exit code {code}: {last[:200]}')
        return output

    def step(self, name: str, function: Callable[[], str]) -> bool:
        """Runs and times one step; whether it passed."""
        if self.args.only and name not in ('install', *self.args.only):
            self.steps += [self.known[name]] if name in self.known else []
            return False
        start = time.monotonic()
        try:
            note, outcome = function() or '', 'passed'
        except NotRun as error:
            note, outcome = str(error), 'not run'
        except (Failed, OSError, KeyError, ValueError) as error:
            note, outcome = str(error), 'failed'
        seconds = round(time.monotonic() - start, 1)
        self.steps.append(dict(name=name, outcome=outcome, seconds=seconds, note=note))
        print(f'{self.stack.name}: {name}: {outcome}, {seconds} s. {note}', flush=True)
        return outcome == 'passed'

    def run(self) -> dict:
        """All steps; nothing else when the environment cannot be built."""
        if not self.args.only:
            shutil.rmtree(self.logs, ignore_errors=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        if self.step('install', self.install):
            if self.stack.detector:
                self.step('main job', self.main_job)
                self.step('checkpoint', self.checkpoint)
            self.step('tests', self.tests)
            if self.stack.detector:
                self.step('comparison', self.comparison)
        outcomes = {step['outcome'] for step in self.steps}
        outcome = 'failed' if 'failed' in outcomes else 'passed'
        if 'passed' not in outcomes:
            outcome = self.steps[0]['outcome']
        return dict(
            name=self.stack.name, about=self.stack.about, outcome=outcome,
            date=datetime.date.today().isoformat(), versions=self.versions,
            steps=self.steps,
        )  # fmt: skip

    def install(self) -> str:
        """A new environment, unless a kept one is there."""
        kept = (self.folder / 'complete').exists()
        if not kept:
            base = find_python(self.stack.python, self.args.python)
            self.command([base, '-m', 'venv', '--clear', str(self.folder)], 'install')
            build = self.folder / 'build_constraint.txt'
            build.write_text('setuptools<81\n')
            pins = (ROOT / 'constraints.txt').read_text()
            other = self.folder / 'constraints_but_torch.txt'
            other.write_text(re.sub(r'^torch==.*\n', '', pins, flags=re.MULTILINE))
            files = {OLD_SETUPTOOLS: str(build), OTHER_TORCH: str(other)}
            for variables, words in (*self.stack.installs, *self.compiled_ops()):
                variables = {k: files.get(v, v) for k, v in variables.items()}
                words = [files.get(word, word) for word in words]
                self.command([self.python, *words], 'install', **variables)
            (self.folder / 'complete').touch()
        self.versions = json.loads(
            self.command([self.python, '-c', PROBE], 'versions').splitlines()[-1]
        )
        if self.stack.name == 'compiled' and not self.has_compiled_ops():
            raise Failed(f'mmcv has no compiled ops: {self.versions}')
        return 'kept' if kept else ''

    def has_compiled_ops(self) -> bool:
        return not self.versions.get('mmcv._ext', '.py').endswith('.py')

    def compiled_ops(self) -> list[tuple]:
        """What replaces mmcv in the compiled stack: a wheel, or a build from source."""
        if self.stack.name != 'compiled':
            return []
        if self.args.wheel:
            return [pip('--no-deps', '--force-reinstall', str(self.args.wheel))]
        pins = re.findall(
            r'^onedl-mmcv==\S+', (ROOT / 'constraints.txt').read_text(), re.MULTILINE
        )
        words = ['--no-deps', '--force-reinstall', '--no-cache-dir']
        words.append('--no-build-isolation')
        return [
            pip(*PINNED, 'setuptools', 'wheel', 'ninja', 'cython'),
            pip(*words, '--no-binary', 'onedl-mmcv', *pins, MMCV_WITH_OPS='1'),
        ]

    def tool(self, name: str, *words: str, **options: object) -> dict[str, float]:
        """metrics.json of tools/NAME.py on OVShapes."""
        work_dir = self.logs / (name + '_' + Path(words[-1]).stem)
        shutil.rmtree(work_dir, ignore_errors=True)  # of an earlier --only
        options = dict(data_root=self.args.env_dir / 'ovshapes') | options
        self.command(
            [self.python, f'tools/{name}.py', *words, '--work-dir', str(work_dir),
             '--cfg-options', *(f'{k}={v}' for k, v in options.items())], name,
            OMP_NUM_THREADS=os.environ.get('OMP_NUM_THREADS', '1'),
        )  # fmt: skip
        return json.loads((work_dir / 'metrics.json').read_text())

    def main_job(self) -> str:
        """README's first command on few pictures; the checkpoint tests as it ended."""
        config = 'configs/ovd_fgclip2.py'
        sizes = {'num_train': 200, 'num_val': 20, 'train_cfg.max_epochs': 1}
        trained = self.tool('train', config, **sizes)
        path = self.logs / 'train_ovd_fgclip2' / 'epoch_1.pth'
        tested = self.tool('test', config, str(path), **sizes)
        if trained != tested:
            raise Failed(f'the test gives {tested}, the training ended with {trained}')
        return f'all AP50 {tested["open_vocab/all_ap50"]:.3f}'

    def checkpoint(self) -> str:
        """AP50 of a given checkpoint, held against the metrics.json beside it."""
        path = self.args.checkpoint
        if not path or not path.is_file():
            raise NotRun('no checkpoint given')
        values = self.tool('test', 'configs/ovd_fgclip2.py', str(path.resolve()))
        note = ' / '.join(f'{values[name]:.4f}' for name in METRICS)
        beside = path.parent / 'metrics.json'
        if beside.is_file():
            known = json.loads(beside.read_text())
            if any(abs(values[name] - known[name]) > TOLERANCE for name in METRICS):
                told = ' / '.join(f'{known[name]:.4f}' for name in METRICS)
                raise Failed(f'{note}, {beside.name} says {told}')
        return note

    def pytest(self, *paths: str, **variables: str) -> str:
        words = [self.python, '-m', 'pytest', '-rfE', '-p', 'no:cacheprovider', *paths]
        counts = count_tests(self.command(words, 'tests', **variables))
        if 'passed' not in counts:
            raise NotRun(counts or 'no test ran')
        return counts

    def tests(self) -> str:
        """The stack's tests, but for the comparison."""
        return self.pytest(*self.stack.tests, f'--ignore={COMPARISON}')

    def comparison(self) -> str:
        """This stack's ops against the environment with compiled ones."""
        compiled = self.args.env_dir / 'compiled'
        if not (compiled / 'complete').exists():
            raise NotRun('no environment with compiled ops (stack "compiled")')
        if not (ROOT / COMPARISON).exists():
            raise NotRun(f'no {COMPARISON}')
        python = str(compiled / 'bin' / 'python')
        return self.pytest(COMPARISON, FGCLIP2_COMPILED_PYTHON=python)
