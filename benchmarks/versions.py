"""FG-CLIP 1 against FG-CLIP 2 in small: same data, same steps, several seeds.

Tiny models from random weights on OVShapes' scenes of 14 x 14 patches, in one run each:

- FG-CLIP 1 with its losses (``configs/pretrain/fgclip1_tiny_stage2_ovshapes.py``),
- FG-CLIP 2's towers with FG-CLIP 1's losses,
- FG-CLIP 2 with the released losses.

Each run trains, exports its model and evaluates it as ``pretrain.evaluate`` does. Runs
that are done are not repeated, one that was stopped goes on; ``--only`` runs a part, on
another core say.

    python -m benchmarks.versions --work-dir work_dirs/versions --length 0.2 \\
        --seeds 0 1 2 --out versions.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from fgclip2_det.io.atomic import write_atomic
from fgclip2_det.visualization import seed_tables
from pretrain.ablation import read_columns, schedule_options

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs/pretrain'
SIDE = 14  # patches each way
VERSIONS = {
    'FG-CLIP 1': ('fgclip1_tiny_stage2_ovshapes', {}),
    "FG-CLIP 2, FG-CLIP 1's losses": (
        'fgclip2_tiny_one-run_ovshapes', {'model.losses.preset': 'fgclip1'},
    ),
    'FG-CLIP 2': ('fgclip2_tiny_one-run_ovshapes', {}),
}  # fmt: skip


def train(version: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """One run's metrics, and seconds; read where they are there already."""
    name, options = VERSIONS[version]
    slug = version.lower().replace(' ', '-').replace(',', '').replace("'", '')
    folder = args.work_dir / f'{slug}_seed{seed}'
    result = folder / 'result.json'
    if result.exists():
        return json.loads(result.read_text())
    path = CONFIGS / f'{name}.py'
    changes = {
        **options,
        **schedule_options(Config.fromfile(path), args.length),
        'model.encoder.seed': seed,
        'train_dataloader.sampler.seed': seed,
        'train_dataloader.dataset.num_images': args.images,
        'train_dataloader.dataset.data_root': str(args.data_root),
    }
    words = [f'{key}={value}' for key, value in changes.items()]
    start = time.perf_counter()
    begun = ['--resume'] if (folder / 'last_checkpoint').exists() else []
    run('tools/train.py', path, '--work-dir', folder, *begun, '--cfg-options', *words)
    seconds = time.perf_counter() - start
    run(
        '-m', 'pretrain.evaluate', '--checkpoint', folder / 'model', '--data',
        'ovshapes', '--data-root', args.data_root, '--max-num-patches', SIDE**2,
        '--out', folder / 'metrics.json',
    )  # fmt: skip
    metrics = json.loads((folder / 'metrics.json').read_text())['metrics']
    content = dict(version=version, seed=seed, seconds=seconds, metrics=metrics)
    write_atomic(result, json.dumps(content, indent=1).encode())
    return content


def run(*words: object) -> None:
    """A command of this repository; CalledProcessError if it fails."""
    command = [sys.executable, *map(str, words)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--work-dir', type=Path, default=Path('work_dirs/versions'))
    add('--data-root', type=Path, default=Path('data/ovshapes'))
    add('--images', type=int, default=6000, help='of the training; default: 6000')
    add('--seeds', nargs='+', type=int, default=[0, 1, 2], help='default: 0 1 2')
    add('--length', type=float, default=0.2, help='of 1,200 steps; default: 0.2')
    add('--only', nargs='+', help='versions by the beginning of their names')
    add('--threads', type=int, default=1, help='default: 1')
    add('--out', type=Path, help='JSON of all figures')
    args = parser.parse_args(argv)
    os.environ['OMP_NUM_THREADS'] = str(args.threads)
    args.work_dir, args.data_root = args.work_dir.resolve(), args.data_root.resolve()
    chosen = [v for v in VERSIONS if args.only is None or v in args.only]
    table: seed_tables.SeedTable = {}
    runs = []
    for seed in args.seeds:
        for version in chosen:
            runs.append(train(version, seed, args))
            print(f'{version}, seed {seed}: {runs[-1]["seconds"]:.0f} s', flush=True)
    for version in chosen:
        rows = [read_columns(r['metrics']) for r in runs if r['version'] == version]
        table[version] = {name: [row[name] for row in rows] for name in rows[0]}
        seconds = [run['seconds'] for run in runs if run['version'] == version]
        table[version]['seconds'] = seconds
    print(seed_tables.format_markdown(table, 'model'))
    if args.out is not None:
        args.out.write_text(json.dumps(dict(table=table, runs=runs), indent=1))


if __name__ == '__main__':
    main()
