"""AP of a trained detector on this Python's ops and on compiled ones, side by side.

Exits with 1 where a metric differs by more than 0.002.

Example:
    python -m benchmarks.compiled_ops --checkpoint work_dirs/first/epoch_2.pth \
        --compiled-python /path/to/python
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAX_DIFFERENCE = 0.002
OPS = 'import fgclip2_det, mmcv._ext; print(mmcv._ext.__file__)'


def parser() -> argparse.ArgumentParser:
    named = os.environ.get('FGCLIP2_COMPILED_PYTHON')
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--checkpoint', required=True, type=Path)
    parser.add_argument('--config', default=str(ROOT / 'configs' / 'ovd_fgclip2.py'))
    parser.add_argument(
        '--compiled-python',
        default=named,
        required=named is None,
        help='Python whose mmcv has compiled ops (FGCLIP2_COMPILED_PYTHON)',
    )
    return parser


def metrics(python: str, config: str, checkpoint: Path) -> dict[str, float]:
    """What ``tools/test.py`` writes, run by that Python."""
    test = str(ROOT / 'tools' / 'test.py')
    with tempfile.TemporaryDirectory() as folder:
        command = [python, test, config, str(checkpoint), '--work-dir', folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=env())
        return json.loads((Path(folder) / 'metrics.json').read_text())


def env() -> dict[str, str]:
    """Both Pythons import this checkout."""
    return {**os.environ, 'PYTHONPATH': str(ROOT)}


def ops_of(python: str) -> str:
    """The file that mmcv's ops come from."""
    command = [python, '-W', 'ignore', '-c', OPS]
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=env())
    return out.stdout.strip().splitlines()[-1]


def main(args: argparse.Namespace) -> int:
    pythons = (sys.executable, args.compiled_python)
    files = [ops_of(python) for python in pythons]
    if files[1].endswith('mmcv_ext.py'):
        raise SystemExit(f'{args.compiled_python} has no compiled ops: {files[1]}')
    columns = [metrics(python, args.config, args.checkpoint) for python in pythons]
    for name, python, file in zip('ab', pythons, files, strict=True):
        print(f'{name}: {python}, ops of {Path(file).name}')
    width = max(map(len, columns[0]))
    print(f'{"":<{width}} {"a":>8} {"b":>8} {"b - a":>9}')
    worst = 0.0
    for name, first in columns[0].items():
        second = columns[1][name]
        if first is None or second is None:
            continue
        worst = max(worst, abs(second - first))
        print(f'{name:<{width}} {first:8.4f} {second:8.4f} {second - first:+9.6f}')
    return int(worst > MAX_DIFFERENCE)


if __name__ == '__main__':
    sys.exit(main(parser().parse_args()))
