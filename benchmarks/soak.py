"""Thousands of requests to one OpenVocabInferencer: memory, file handles and threads.

Every request brings other names, texts that were never asked for before, and a small
image of its own; every eightieth brings eight images in batches of four. Text
embeddings go to a cache on disk with a size limit, so that entries are removed all the
time. What a service that runs for weeks would lose shows as growth from row to row.

    OMP_NUM_THREADS=1 python -m benchmarks.soak --requests 10000 --minutes 10
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import tempfile
import time
from pathlib import Path

from benchmarks.inferencer import COLORS, SHAPES, drawn

CACHE = 'FGCLIP2_CACHE_SIZE'
COLUMNS = (
    'requests',
    'images',
    'seconds',
    'mb',
    'files',
    'threads',
    'cached',
    'cache_kb',
)


def new_names(number: int) -> list[str]:
    """Two to four names; one of them is of this request alone."""
    pairs = [
        f'{COLORS[(number + k) % 8]} {SHAPES[(number // 8 + 3 * k) % 8]}'
        for k in range(1 + number % 3)
    ]
    return [*pairs, f'{COLORS[number % 8]} thing {number}']


def state(folder: Path) -> dict[str, float]:
    """Memory in use, open files and threads of this process; size of the cache."""
    gc.collect()
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    files = [path.stat().st_size for path in folder.glob('*.safetensors')]
    return dict(
        mb=round(pages * os.sysconf('SC_PAGE_SIZE') / 2**20, 1),
        files=len(os.listdir('/proc/self/fd')),
        threads=len(os.listdir('/proc/self/task')),
        cached=len(files),
        cache_kb=round(sum(files) / 1000, 1),
    )


def soak(args: argparse.Namespace, folder: Path) -> list[dict]:
    """Rows of :data:`COLUMNS`, twenty over the requests; each is saved at once."""
    from fgclip2_det import OpenVocabInferencer

    inferencer = OpenVocabInferencer()
    inferencer.system.detector.cache_dir = str(folder)
    rows, images, start = [], 0, time.monotonic()
    for number in range(args.requests):
        count = 8 if number % 80 == 79 else 1
        given = [drawn(number + k, (args.side, args.side)) for k in range(count)]
        found = inferencer(given, new_names(number), batch_size=4)
        assert len(found) == count
        images += count
        late = time.monotonic() - start > 60 * args.minutes
        if (number + 1) % max(args.requests // 20, 1) == 0 or late:
            seconds = round(time.monotonic() - start, 1)
            row = dict(requests=number + 1, images=images, seconds=seconds)
            rows.append(row | state(folder))
            print(*(f'{rows[-1][name]:>9}' for name in COLUMNS), flush=True)
            save(args, rows)
        if late:
            print(f'stopped after {args.minutes} minutes')
            break
    return rows


def main(args: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(1)
    os.environ[CACHE] = args.cache_size
    print(*(f'{name:>9}' for name in COLUMNS))
    with tempfile.TemporaryDirectory() as folder:
        rows = soak(args, Path(folder))
    since, growth = grown(rows)
    print(f'growth over the last {since} requests: {growth}')


def grown(rows: list[dict]) -> tuple[int, dict[str, float]]:
    """Requests since the first tenth, and what has grown since."""
    first, last = rows[len(rows) // 10], rows[-1]
    growth = {name: round(last[name] - first[name], 1) for name in COLUMNS[3:]}
    return last['requests'] - first['requests'], growth


def save(args: argparse.Namespace, rows: list[dict]) -> None:
    if args.out:
        content = dict(rows=rows, growth=grown(rows)[1], cache_size=args.cache_size)
        args.out.write_text(json.dumps(content, indent=1) + '\n')


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--requests', type=int, default=10_000)
    parser.add_argument('--minutes', type=float, default=10, help='at most')
    parser.add_argument('--side', type=int, default=64, help='of the images, pixels')
    parser.add_argument('--cache-size', default='200K', help=f'{CACHE}; default 200K')
    parser.add_argument('--out', type=Path, help='JSON file')
    return parser


if __name__ == '__main__':
    main(parser().parse_args())
