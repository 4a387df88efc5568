"""Cost of the encoder by size and resolution: parameters, FLOPs, memory."""

import argparse
import json
from pathlib import Path

EXAMPLE = """example:
  python tools/model_cost.py --sizes base large --resolutions 640 1024 --train \\
      --window 16 --global-blocks 4 --out cost.json

No weights are needed: FLOPs are computed by a formula, peak memory by a pass with meta
tensors, which have shapes but no data."""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('--sizes', nargs='+', default=['base', 'large', 'so400m'],
        choices=['tiny', 'base', 'large', 'so400m'])  # fmt: skip
    add('--resolutions', nargs='+', type=int, default=[640, 896, 1024],
        help='sides of a square image in pixels; default: 640 896 1024')  # fmt: skip
    add('--window', type=int, default=0,
        help='window side in patches, adds a row of windowed attention')  # fmt: skip
    add('--global-blocks', type=int, default=4,
        help='global-attention blocks in that row; default 4')  # fmt: skip
    add('--train', action='store_true', help='also report training memory')
    add('--amp', action='store_true', help='bfloat16 autocast instead of float32')
    add('--out', type=Path, help='JSON file for the same numbers')
    add('--verbose', action='store_true', help='show the traceback of an error')
    return parser


def main(args: argparse.Namespace) -> None:
    from tqdm import tqdm

    from fgclip2_det.fgclip2.cost import cost_row
    from fgclip2_det.io.atomic import write_atomic

    windows = [0, args.window] if args.window else [0]
    cases = [(s, r, w) for s in args.sizes for r in args.resolutions for w in windows]
    rows = [
        cost_row(*case, args.global_blocks, args.train, args.amp)
        for case in tqdm(cases, 'measuring', disable=None)
    ]
    print(table(rows))
    if args.out:
        write_atomic(args.out, f'{json.dumps(rows, indent=1)}\n'.encode())


def table(rows: list[dict]) -> str:
    """The rows as Markdown."""
    head = ['size', 'parameters, M', 'pixels', 'patches', 'attention', 'GFLOPs']
    head += ["blocks' attention", 'inference, MB']
    if 'training' in rows[0]:
        head += ['training, MB', 'with checkpoints, MB']
    lines = [head, ['---'] * len(head)]
    for row in rows:
        flops, (h, w) = row['flops'], row['grid']
        kind = 'global'
        if row['window_size']:
            kind = (
                f'windows of {row["window_size"]}, {len(row["global_blocks"])} global'
            )
        cells = [row['size'], f'{row["params"] / 1e6:.1f}', str(row['resolution'])]
        cells += [f'{h} x {w}', kind, f'{flops["total"] / 1e9:,.0f}']
        cells.append(f'{flops["attention"] / flops["total"]:.0%}')
        names = ('inference', 'training', 'training_cp')
        cells += [f'{row[name] / 1e6:,.0f}' for name in names if name in row]
        lines.append(cells)
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in lines)
