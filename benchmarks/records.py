"""Results on file: what a command wrote, and the state of the code and the machine.

``docs/results/commands.json`` says how each result is made; ``docs/results/NAME.json``
holds it. ``tools/make_results.py`` runs the commands and writes the numbers of README
and ``docs`` from the files.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgclip2_det.evaluation.fingerprint import commit, versions
from fgclip2_det.io.atomic import write_atomic
from fgclip2_det.io.digests import file_digest, json_digest

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'docs/results'
COMMANDS = 'commands.json'
CPU_UNITS = ('avx2', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'amx_bf16', 'amx_int8')
SUMMARIES: dict[str, Callable[[Sequence[float]], float]] = {
    'mean': statistics.mean,
    'std': statistics.stdev,
    'median': statistics.median,
    'min': min,
    'max': max,
}


class ResultError(ValueError):
    """A result that cannot be made, read or found."""


@dataclass(frozen=True)
class Recipe:
    """How a result is made.

    Args:
        commands: run one after another from the repository's root; ``{work}`` is a new
            folder, ``python`` this interpreter.
        output: the JSON that they write, with ``{work}``; several by name.
        inputs: files whose digests belong to the result.
        threads: of PyTorch and the libraries beneath it.
    """

    commands: tuple[str, ...]
    output: str | Mapping[str, str]
    inputs: tuple[str, ...] = ()
    threads: int = 2


def read_recipes(folder: Path = RESULTS) -> dict[str, Recipe]:
    """Recipes by name.

    Raises:
        ResultError: for a file of another form.
    """
    path = folder / COMMANDS
    recipes = {}
    for name, entry in _read(path).items():
        try:
            given = {
                k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()
            }
            recipes[name] = Recipe(**given)
        except (AttributeError, TypeError) as error:
            raise ResultError(f'{path}: {name}: {error}') from error
    return recipes


def make(
    name: str,
    recipe: Recipe,
    folder: Path = RESULTS,
    work: Path | None = None,
    only: Sequence[int] = (),
) -> dict[str, Any] | None:
    """Run a recipe and write ``NAME.json``.

    Args:
        name: of the result.
        recipe: how it is made.
        folder: of the results.
        work: folder that is kept; commands that ended well in it at the same commit are
            not run again. None: a new one, removed at the end.
        only: positions of the commands to run; none: all.

    Returns:
        What was written; None where commands are left to run.

    Raises:
        ResultError: files of the repository differ from the commit, a command fails, or
            one was run at another commit.
    """
    if changed := _changed_files():
        raise ResultError(
            f'{", ".join(changed[:3])}: {len(changed)} files differ from the commit '
            f'that the result would name; commit or stash them first'
        )
    with tempfile.TemporaryDirectory() as new:
        place = Path(work or new).resolve()
        place.mkdir(parents=True, exist_ok=True)
        chosen = only or range(len(recipe.commands))
        for i in chosen:
            _run_once(recipe, i, place)
        done = [_done(recipe, i, place) for i in range(len(recipe.commands))]
        if None in done:
            return None
        output = _outputs(recipe.output, str(place))
    record = {
        'name': name,
        'commands': list(recipe.commands),
        'threads': recipe.threads,
        'inputs': {path: file_digest(ROOT / path) for path in recipe.inputs},
        'commit': commit(),
        'versions': versions(),
        'machine': machine(),
        'date': datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        'seconds': sum(part['seconds'] for part in done if part),
        'sha256': json_digest(output),
        'output': output,
    }
    write_atomic(folder / f'{name}.json', _text(record).encode())
    return record


def _run_once(recipe: Recipe, i: int, work: Path) -> None:
    """Run command ``i``, unless it is done, and note that it is."""
    if not 0 <= i < len(recipe.commands):
        raise ResultError(f'there is no command {i} of {len(recipe.commands)}')
    if _done(recipe, i, work) is not None:
        return
    start = time.time()
    _run(recipe.commands[i].format(work=work), recipe.threads)
    note = {**_state(recipe, i), 'seconds': round(time.time() - start)}
    (work / 'done').mkdir(parents=True, exist_ok=True)
    write_atomic(work / f'done/{i}.json', _text(note).encode())


def _state(recipe: Recipe, i: int) -> dict[str, Any]:
    """What all parts of a result have in common, and command ``i``."""
    return {
        'command': recipe.commands[i],
        'inputs': {path: file_digest(ROOT / path) for path in recipe.inputs},
        'commit': commit(),
        'versions': versions(),
        'machine': machine(),
    }


def _done(recipe: Recipe, i: int, work: Path) -> dict[str, Any] | None:
    """The note on command ``i``; None if it has not run in this folder.

    Raises:
        ResultError: it was another command or commit, with other inputs or versions,
            or on another machine.
    """
    path = work / f'done/{i}.json'
    if not path.is_file():
        return None
    note = _read(path)
    for key, value in _state(recipe, i).items():
        if note.get(key) != value:
            raise ResultError(
                f'{path}: {key} was {note.get(key)} and is {value}; take another folder'
            )
    return note


def read_record(name: str, folder: Path = RESULTS) -> dict[str, Any]:
    """A result from its file.

    Raises:
        ResultError: there is none, or its output is not what was recorded.
    """
    record = _read(folder / f'{name}.json')
    if record.get('sha256') != json_digest(record.get('output')):
        raise ResultError(
            f'{folder / name}.json: the output has another digest than the file says; '
            f'record it anew with tools/make_results.py --record {name}'
        )
    return record


def machine() -> dict[str, Any]:
    """CPU, its units for low precision, cores and memory in GB."""
    text = Path('/proc/cpuinfo')
    fields: dict[str, str] = {}
    if text.is_file():
        lines = text.read_text(encoding='utf-8').splitlines()
        pairs = (line.partition(':')[::2] for line in lines)
        fields = {key.strip(): value.strip() for key, value in pairs}
    flags = set(fields.get('flags', '').split())
    pages = {name: os.sysconf(name) for name in ('SC_PHYS_PAGES', 'SC_PAGE_SIZE')}
    return {
        'cpu': fields.get('model name') or platform.processor() or platform.machine(),
        'units': [unit for unit in CPU_UNITS if unit in flags],
        'cores': os.cpu_count(),
        'memory_gb': round(pages['SC_PHYS_PAGES'] * pages['SC_PAGE_SIZE'] / 1e9),
    }


def value_at(output: Any, path: str) -> float:
    """The number at a path of an output.

    Args:
        output: plain values of JSON.
        path: keys and positions joined by '/', as ``runs/0/ap50``; a key may hold '/'
            itself. ``*`` stands for every entry; it needs a summary behind a colon:
            ``runs/*/ap50:mean`` (std, median, min, max). ``[rule=logit;nms=None]``
            stands for the entries of a list that have these values.

    Raises:
        ResultError: nothing, or no number, is there.
    """
    keys, _, summary = path.partition(':')
    found = list(_walk(output, keys.split('/')))
    numbers = [v for v in found if isinstance(v, int | float)]
    if not found or len(numbers) < len(found):
        raise ResultError(f'{path!r} leads to no number')
    if summary:
        if summary not in SUMMARIES:
            raise ResultError(f'{path!r}: {summary!r} is none of {list(SUMMARIES)}')
        return SUMMARIES[summary](numbers)
    if len(numbers) > 1:
        raise ResultError(f'{path!r} leads to {len(numbers)} numbers; add a summary')
    return numbers[0]


def _walk(value: Any, keys: list[str]):
    """Values at a path; of a mapping, the longest key that fits is taken."""
    if not keys:
        yield value
    elif keys[0] == '*' and isinstance(value, Mapping | list):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _walk(each, keys[1:])
    elif isinstance(value, list) and keys[0][:1] == '[' and keys[0][-1:] == ']':
        wanted = [pair.partition('=')[::2] for pair in keys[0][1:-1].split(';')]
        for each in value:
            if isinstance(each, Mapping) and all(
                key in each and str(each[key]) == own for key, own in wanted
            ):
                yield from _walk(each, keys[1:])
    elif isinstance(value, list) and keys[0].lstrip('-').isdigit():
        if -len(value) <= int(keys[0]) < len(value):
            yield from _walk(value[int(keys[0])], keys[1:])
    elif isinstance(value, Mapping):
        for length in range(len(keys), 0, -1):
            key = '/'.join(keys[:length])
            if key in value:
                yield from _walk(value[key], keys[length:])
                return


def _outputs(output: str | Mapping[str, str], work: str) -> Any:
    if isinstance(output, str):
        return _read(Path(output.format(work=work)))
    return {name: _outputs(path, work) for name, path in output.items()}


def _run(command: str, threads: int) -> None:
    words = shlex.split(command)
    if words[0] == 'python':
        words[0] = sys.executable
    elif words[0].endswith('.py'):
        words.insert(0, sys.executable)
    count = str(threads)
    environment = {**os.environ, 'OMP_NUM_THREADS': count, 'MKL_NUM_THREADS': count}
    status = subprocess.run(words, cwd=ROOT, env=environment, check=False).returncode
    if status:
        raise ResultError(f'{command}: exit status {status}')


def _changed_files() -> list[str]:
    """Files that differ from the commit, but for results and pages."""
    command = ['git', '-C', str(ROOT), 'status', '--porcelain', '-uno']
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    paths = [line[3:] for line in done.stdout.splitlines()]
    return [p for p in paths if not p.startswith('docs/') and p != 'README.md']


def _read(path: Path) -> Any:
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise ResultError(f'{path}: {error}') from error
    if not isinstance(content, dict | list):
        raise ResultError(f'{path}: expected an object, found {content!r:.40}')
    return content


def _text(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=1, ensure_ascii=False) + '\n'
