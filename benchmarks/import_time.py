"""Import times of the package's entry points as whole processes, beside torch's.

Each round starts one process per statement, in turn, so that a machine whose speed
drifts slows all alike; a ratio is the median of per-round ratios. CPU seconds are those
of the process itself (user and system), memory is its peak resident size. ``--help`` of
every tool is compared with ``python -c pass``.

    python -m benchmarks.import_time --rounds 5 --out import_time.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BASE = 'import torch'
DOORS = {
    'fgclip2_det': 'import fgclip2_det',
    'FGCLIP2': 'from fgclip2_det import FGCLIP2',
    'Vocabulary': 'from fgclip2_det import Vocabulary',
    'metrics': 'from fgclip2_det.evaluation import protocols',
    'zeroshot': 'from fgclip2_det.zeroshot import suite',
}
EMPTY = 'pass'
COUNT = 'import sys; print(len(sys.modules))'


def measure(command: list[str]) -> dict[str, float]:
    """Wall seconds, CPU seconds and peak MB of one process.

    Raises:
        ValueError: the process failed; its last line says why.
    """
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    start = time.perf_counter()
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        errors = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        last = errors.decode(errors='replace').strip().splitlines()[-1:]
        raise ValueError(f'{" ".join(command[1:])} failed: {"".join(last)}')
    return {
        'seconds': time.perf_counter() - start,
        'cpu': usage.ru_utime + usage.ru_stime,
        'mb': usage.ru_maxrss / 1024,
    }


def count_modules(statement: str) -> int:
    """Modules in memory after ``statement``."""
    code = f'{statement}\n{COUNT}'
    command = [sys.executable, '-W', 'ignore', '-c', code]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    return int(subprocess.check_output(command, cwd=ROOT, env=environment).split()[-1])


def compare(commands: dict[str, list[str]], base: str, rounds: int) -> dict[str, dict]:
    """Median figures of each command and its median ratios to ``base``."""
    runs: dict[str, list] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            runs[name].append(measure(command))
    table = {}
    for name, rows in runs.items():
        table[name] = {key: statistics.median(row[key] for row in rows)
                       for key in rows[0]}  # fmt: skip
        pairs = list(zip(rows, runs[base], strict=True))
        for key in rows[0]:
            ratio = statistics.median(row[key] / first[key] for row, first in pairs)
            table[name][f'{key}_ratio'] = ratio
    return table


def show(table: dict[str, dict]) -> None:
    for name, row in table.items():
        modules = f'  {row["modules"]:5d} modules' if 'modules' in row else ''
        print(f'{name:<22} {row["seconds"]:6.2f} s {row["seconds_ratio"]:5.2f}  '
              f'CPU {row["cpu"]:6.2f} s {row["cpu_ratio"]:5.2f}  '
              f'{row["mb"]:6.0f} MB {row["mb_ratio"]:5.2f}{modules}')  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--only', choices=['imports', 'help'])
    parser.add_argument('--out', type=Path)
    args = parser.parse_args()

    content = {}
    if args.only != 'help':
        statements = {'torch': BASE, **DOORS}
        commands = {
            name: [sys.executable, '-W', 'ignore', '-c', code]
            for name, code in statements.items()
        }
        content['imports'] = compare(commands, 'torch', args.rounds)
        for name, code in statements.items():
            content['imports'][name]['modules'] = count_modules(code)
        show(content['imports'])
    if args.only != 'imports':
        tools = sorted((ROOT / 'tools').glob('[a-z]*.py'))
        commands = {'pass': [sys.executable, '-c', EMPTY]}
        commands |= {t.name: [sys.executable, str(t), '--help'] for t in tools}
        if (ROOT / 'fgclip2_det' / 'cli').is_dir():
            module = [sys.executable, '-m', 'fgclip2_det.cli', '--help']
            commands['fgclip2-det'] = module
        content['help'] = compare(commands, 'pass', args.rounds)
        show(content['help'])
    if args.out:
        args.out.write_text(json.dumps(content, indent=1) + '\n')


if __name__ == '__main__':
    main()
