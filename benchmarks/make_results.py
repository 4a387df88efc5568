"""Record results, write them into README and docs, check that every number has a file.

tools/make_results.py                     the numbers of all pages, from the files
tools/make_results.py --record NAME ...   run the commands of results first
    --work DIR [--only I ...]             of one result, in parts: what is done stays
tools/make_results.py --check             differences and numbers without a file; 1
tools/make_results.py --list              results, their commands, commit and time
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.pages import check, write
from benchmarks.records import RESULTS, ResultError, make, read_recipes, read_record


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument('--record', nargs='+', metavar='NAME', help='run and record')
    group.add_argument('--check', action='store_true', help='change nothing')
    group.add_argument('--list', action='store_true', help='what there is')
    parser.add_argument('--work', type=Path, metavar='DIR', help='folder that is kept')
    parser.add_argument(
        '--only',
        type=int,
        nargs='+',
        default=[],
        metavar='I',
        help='its commands, from 0',
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0, 1 if a check finds something, 2 if a result cannot be made."""
    args = parser().parse_args(argv)
    try:
        if (args.work or args.only) and not args.record:
            raise ResultError('--work and --only need --record NAME')
        if args.check:
            return _check()
        if args.list:
            return _list()
        return _write(args.record or [], args.work, args.only)
    except ResultError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2


def _check() -> int:
    faults = list(check())
    print('\n'.join(faults) or 'every number is that of its file', file=sys.stdout)
    return bool(faults)


def _list() -> int:
    for name, recipe in read_recipes().items():
        state = 'not recorded'
        if (RESULTS / f'{name}.json').is_file():
            record = read_record(name)
            state = f'{record["commit"]:.7}, {record["date"]}, {record["seconds"]} s'
        print(f'{name:<24} {state}')
        for command in recipe.commands:
            print(f'    {command}')
    return 0


def _write(names: list[str], work: Path | None, only: list[int]) -> int:
    recipes = read_recipes()
    if (work or only) and (len(names) != 1 or work is None):
        raise ResultError('--work needs one result, and --only needs --work DIR')
    for name in names:
        if name not in recipes:
            raise ResultError(f'no result {name!r}; there are {", ".join(recipes)}')
        record = make(name, recipes[name], work=work, only=only)
        if record is None:
            print(f'{name}: not all of its commands have run in {work}')
            return 0
        print(f'{name}: {record["seconds"]} s, docs/results/{name}.json')
    for page in write():
        print(f'written: {page}')
    return 0
