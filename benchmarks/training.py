"""How long configs train: steps of each, in turn in one process.

A block of steps of each config, round after round, its images read anew; seconds of the
processor per image. The time of a whole training is that times the images of all its
epochs, plus the evaluation, which is the same for all and is measured once. Ratios are
medians over rounds, of the first config over each other one.

    python -m benchmarks.training configs/ovd_fgclip2.py \\
        configs/ovshapes/ovd_fgclip2_3e.py --threads 1 --out training.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

import fgclip2_det.registration  # registers the detectors


class Training:
    """A config's model, data and optimizer; rates are those of the first step."""

    def __init__(self, path: Path, folder: Path, number: int) -> None:
        from mmengine.config import Config
        from mmengine.runner import Runner

        cfg = Config.fromfile(path)
        cfg.work_dir, cfg.experiment_name = str(folder / str(number)), f'run {number}'
        cfg.randomness = dict(seed=0)
        self.runner = Runner.from_cfg(cfg)
        self.runner.call_hook('before_run')
        loop = self.runner.train_loop
        self.loader = loop.dataloader
        self.batch_size = self.loader.batch_size or cfg.train_dataloader.batch_size
        self.images = loop.max_iters * self.batch_size
        self.runner.optim_wrapper = self.runner.build_optim_wrapper(
            self.runner.optim_wrapper
        )
        self.runner.call_hook('before_train')
        self.batches = self._batches()

    def _batches(self) -> Iterator[Any]:
        while True:
            yield from self.loader

    def seconds_per_image(self, images: int) -> float:
        """CPU seconds of reading and training so many images, over their number."""
        model, steps = self.runner.model.train(), max(images // self.batch_size, 1)
        start = time.process_time()
        for _ in range(steps):
            model.train_step(next(self.batches), self.runner.optim_wrapper)
        return (time.process_time() - start) / (steps * self.batch_size)

    def evaluation_seconds(self) -> float:
        start = time.process_time()
        self.runner.val_loop.run()
        return time.process_time() - start


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('configs', nargs='+', type=Path)
    add('--rounds', type=int, default=5, help='default: 5')
    add('--images', type=int, default=40, help='of a block; default: 40')
    add('--threads', type=int, default=1, help='default: 1')
    add('--out', type=Path, help='JSON')
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        runs = [Training(c, Path(folder), i) for i, c in enumerate(args.configs)]
        result = measure(runs, args.rounds, args.images)
    result |= dict(threads=args.threads, torch=torch.__version__)
    for config, row in zip(args.configs, result['configs'], strict=True):
        row['config'] = config.as_posix()
        print(
            f'{config}: {row["images"]} images of {1000 * row["per_image"]:.1f} ms, '
            f'{row["seconds"]:.0f} s with the evaluation; the first takes '
            f'{row["ratio"]:.2f} of it ({row["spread"][0]:.2f} to '
            f'{row["spread"][1]:.2f})'
        )
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')


def measure(runs: Sequence[Training], rounds: int, images: int) -> dict[str, Any]:
    """Of each run: seconds, and the first run's share of them."""
    blocks: list[list[float]] = []
    for number in range(rounds + 1):  # the first warms up
        block = [run.seconds_per_image(images) for run in runs]
        if number:
            blocks.append(block)
        print(f'round {number}/{rounds}', file=sys.stderr)
    evaluation = runs[0].evaluation_seconds()
    whole = [
        [each * run.images + evaluation for each, run in zip(block, runs, strict=True)]
        for block in blocks
    ]
    rows = []
    for i, run in enumerate(runs):
        ratios = [row[0] / row[i] for row in whole]
        rows.append(
            dict(
                images=run.images,
                per_image=statistics.median(block[i] for block in blocks),
                seconds=statistics.median(row[i] for row in whole),
                ratio=statistics.median(ratios),
                spread=[min(ratios), max(ratios)],
            )
        )
    return dict(evaluation_seconds=evaluation, configs=rows)


if __name__ == '__main__':
    main()
