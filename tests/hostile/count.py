"""What becomes of the suite's rows, as a table; from another checkout, of its code.

    python -m tests.hostile.count
    cd ../before && PYTHONPATH=.:../now python -m tests.hostile.count --show

Every row has a process of its own, which may take ``--seconds`` and map ``--memory``
more bytes than the interpreter had.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch

from tests.hostile.all_rows import all_rows
from tests.hostile.rows import FINE, SECONDS, SENTENCE, Row, outcome

COLUMNS = ('tried', 'sentence', 'fine', 'accepted', 'words', 'type', 'no end', 'crash')


def column(result: str) -> str:
    """Column of an outcome."""
    if result in (FINE, SENTENCE, 'accepted', 'crash'):
        return result
    if result == 'does not end':
        return 'no end'
    return 'words' if result.startswith(('words', 'refused')) else 'type'


def limit_memory(more: int) -> None:
    """Let the process have ``more`` bytes beyond what it has mapped."""
    pages = int(Path('/proc/self/statm').read_text().split()[0])
    size = pages * os.sysconf('SC_PAGE_SIZE') + more
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def try_row(row: Row, seconds: float, memory: int) -> str:
    """Outcome of a row in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / 'answer'
        child = os.fork()
        if child == 0:
            place = Path(folder) / 'row'
            place.mkdir()
            os.chdir(place)
            limit_memory(memory)
            result = outcome(row, place, seconds)
            answer.write_text(result, errors='replace')
            os._exit(0)
        end = time.monotonic() + seconds + 5
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if time.monotonic() > end:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return 'does not end'
            time.sleep(0.002)
        return answer.read_text() if answer.is_file() else 'crash'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--show', action='store_true', help='print what is not right')
    parser.add_argument('--memory', type=int, default=2 << 30, help='bytes')
    parser.add_argument('--seconds', type=float, default=SECONDS, help='of a row')
    parser.add_argument('--kind', nargs='+', help='of the rows; default: all')
    args = parser.parse_args()
    torch.set_num_threads(1)  # threads of OpenMP do not survive a fork
    counts: dict[str, Counter] = {}
    for row in all_rows():
        if args.kind and row.kind not in args.kind:
            continue
        result = try_row(row, args.seconds, args.memory)
        counts.setdefault(row.kind, Counter())[column(result)] += 1
        if args.show and result not in (FINE, SENTENCE):
            print(f'{row.kind}: {row.name}: {" ".join(result.split())}', flush=True)
    print(' | '.join(['kind', *COLUMNS]))
    print(' | '.join(['---', *['--:'] * len(COLUMNS)]))
    counts['all'] = sum(counts.values(), Counter())
    for kind, found in counts.items():
        cells = [str(found[name] or '') for name in COLUMNS[1:]]
        print(' | '.join([kind, str(sum(found.values())), *cells]))


if __name__ == '__main__':
    sys.exit(main())
