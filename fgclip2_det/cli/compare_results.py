"""Compare two result files, and say whether their numbers are comparable at all.

The files are those of tools/evaluate.py or of tools/benchmark.py. Exit status 1: they
are not comparable."""

import argparse
import sys
from pathlib import Path

from fgclip2_det.cli.parsing import BAD_ANSWER, add_json, write_json

_COLUMNS = ('first', 'second', 'difference')
EXAMPLE = """example:
  python tools/compare_results.py before.json after.json --out diff.png"""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('first', help='JSON file of tools/evaluate.py or tools/benchmark.py')
    add('second', help='the same; differences are second - first')
    add('--out', type=Path, help='PNG of the AP of each class (--classwise)')
    add_json(parser)
    add('--verbose', action='store_true', help='show the traceback of an error')
    return parser


def main(args: argparse.Namespace) -> None:
    from fgclip2_det.evaluation import comparison
    from fgclip2_det.io.atomic import write_atomic

    files = [comparison.read_result(path) for path in (args.first, args.second)]
    reasons = comparison.barriers(*files)
    chart = None
    if args.out:
        chart = comparison.draw_differences(comparison.class_differences(*files))
    print('NOT comparable:' if reasons else 'comparable: protocol, images, classes, '
          'ground truth and limits are the same')  # fmt: skip
    for reason in reasons:
        print(f'  {reason}')
    others = comparison.settings(*files)
    if others:
        print('also:')
    for other in others:
        print(f'  {other}')
    rows = comparison.metric_rows(*files)
    width = max([len(row[0]) for row in rows], default=0)
    print(f'{"":<{width}}    first   second  difference')
    for name, *values in rows:
        cells = ['-' if v is None else f'{v:.4f}' for v in values[:2]]
        change = '-' if values[2] is None else f'{values[2]:+.4f}'
        print(f'{name:<{width}}  {cells[0]:>7}  {cells[1]:>7}  {change:>10}')
    if chart:
        write_atomic(args.out, chart)
        print(f'-> {args.out}')
    metrics = {name: dict(zip(_COLUMNS, values, strict=True)) for name, *values in rows}
    content = {'comparable': not reasons, 'reasons': reasons, 'settings': others}
    write_json(args.json, content | {'metrics': metrics})
    if reasons:
        sys.exit(BAD_ANSWER)
