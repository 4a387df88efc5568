"""Train several configs with several seeds, and compare them in one table.

Each run is `tools/train.py` in its own folder; started again, the sweep continues where
it stopped. It ends with the mean and standard deviation over seeds, printed and written
to sweep.json, sweep.md and the chart sweep.png.
"""

import argparse
import json
from pathlib import Path

from fgclip2_det.cli.parsing import TOOLS, KeyValue

TRAIN = TOOLS / 'train.py'
EXAMPLE = """example:
  python tools/sweep.py configs/ovd_fgclip2.py configs/ovshapes/*.py \\
      --seeds 0 1 2 --work-dir work_dirs/sweep"""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('configs', nargs='+', type=Path, metavar='CONFIG')
    add('--seeds', nargs='+', type=int, default=[0, 1, 2])
    add('--work-dir', type=Path, required=True, help='folder for runs, table and chart')
    add('--metrics', nargs='+', default=['base_ap50', 'novel_ap50'], metavar='NAME',
        help='metrics, one per column; default: base_ap50 novel_ap50')  # fmt: skip
    add('--cfg-options', nargs='+', action=KeyValue, default={}, metavar='KEY=VALUE',
        help='change every config')  # fmt: skip
    add('--verbose', action='store_true', help='show the traceback of an error')
    return parser


def main(args: argparse.Namespace) -> None:
    from fgclip2_det.engine.first_process import held_work_dir

    stems = [config.stem for config in args.configs]
    if len(set(stems)) < len(stems):
        raise ValueError(f'configs must have different file names, got {stems}')
    for config in args.configs:
        if not config.is_file():
            raise FileNotFoundError(f'there is no config {config}')
    with held_work_dir(args.work_dir, 'sweep'):
        sweep(args, stems)


def sweep(args: argparse.Namespace, stems: list[str]) -> None:
    """Run what has not been run, and write table and chart."""
    from fgclip2_det.engine.sweep import collect, run_config
    from fgclip2_det.io.atomic import write_atomic
    from fgclip2_det.visualization.seed_tables import draw_table, format_markdown

    runs = [(config, seed) for seed in args.seeds for config in args.configs]
    results = {stem: [] for stem in stems}
    for number, (config, seed) in enumerate(runs, 1):
        print(f'run {number} of {len(runs)}: {config.stem}, seed {seed}', flush=True)
        results[config.stem].append(
            run_config(config, seed, args.work_dir, args.cfg_options, TRAIN)
        )
        table = collect({k: v for k, v in results.items() if v}, args.metrics)
        text = f'{json.dumps(table, indent=1)}\n'
        write_atomic(args.work_dir / 'sweep.json', text.encode())
    text = format_markdown(table)
    write_atomic(args.work_dir / 'sweep.md', f'{text}\n'.encode())
    chart = draw_table(table, args.work_dir / 'sweep.png')
    print(f'\nPercent, ± is the standard deviation over seeds\n\n{text}\n\n'
          f'chart: {chart}')  # fmt: skip
