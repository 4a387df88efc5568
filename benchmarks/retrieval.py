"""Ranks of a retrieval matrix: this project's blocks and the usual full sort.

Random embeddings, one right caption per image. The plain way makes the whole matrix and
sorts every row; it gives the same R@1, R@5 and R@10 wherever there are no ties. Both in
turn, round after round, each in a process of its own; the ratio is the median of
per-round ratios, memory is the peak above what was there before.

    python -m benchmarks.retrieval --images 33010 --rounds 2
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

KS = (1, 5, 10)
RUNS = ('ours', 'plain')


def make_embeds(count: int, dims: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images and captions whose pairs are often, not always, the nearest."""
    random = torch.Generator().manual_seed(seed)
    images = F.normalize(torch.randn(count, dims, generator=random), dim=1)
    noise = torch.randn(count, dims, generator=random)
    return images, F.normalize(images + 0.25 * noise, dim=1)


def ours(images: Tensor, texts: Tensor) -> list[float]:
    from fgclip2_det.zeroshot.metrics import match_ranks

    own = torch.arange(len(images))
    ranks = match_ranks(images, texts, own, own)
    return [float((ranks <= k).float().mean()) for k in KS]


def plain(images: Tensor, texts: Tensor) -> list[float]:
    order = (images @ texts.T).argsort(dim=1, descending=True)
    right = order == torch.arange(len(images))[:, None]
    return [float(right[:, :k].any(1).float().mean()) for k in KS]


def child(name: str, count: int, dims: int, seed: int) -> None:
    embeds = make_embeds(count, dims, seed)
    {'ours': ours, 'plain': plain}[name](*(x[:100] for x in embeds))  # warm up
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    recalls = {'ours': ours, 'plain': plain}[name](*embeds)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    extra = (peak - before) * 1024 / 1e9
    print(json.dumps(dict(seconds=seconds, extra_gb=extra, recalls=recalls)))


def measured(name: str, args: argparse.Namespace) -> dict:
    words = [name, args.images, args.dims, args.seed]
    command = [sys.executable, '-m', 'benchmarks.retrieval', '--run', *map(str, words)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--images', type=int, default=5000)
    add('--dims', type=int, default=768)
    add('--rounds', type=int, default=3)
    add('--seed', type=int, default=0)
    add('--out', type=Path, help='JSON file for the figures')
    add('--run', nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        name, *numbers = args.run
        child(name, *map(int, numbers))
        return
    runs = {name: [] for name in RUNS}
    for number in range(args.rounds):
        for name in RUNS:
            runs[name].append(measured(name, args))
        print(f'round {number + 1}/{args.rounds}', file=sys.stderr)
    print(f'{args.images:,} x {args.images:,} cosines of {args.dims} numbers')
    for name, rounds in runs.items():
        seconds = statistics.median(run['seconds'] for run in rounds)
        extra = statistics.median(run['extra_gb'] for run in rounds)
        shares = ', '.join(f'{100 * share:.2f}' for share in rounds[0]['recalls'])
        print(f'  {name:<5} {seconds:7.1f} s, {extra:5.2f} GB more, R@1/5/10 {shares}')
    ratios = [b['seconds'] / a['seconds'] for a, b in zip(*runs.values(), strict=True)]
    print(f'  plain / ours {statistics.median(ratios):.1f} '
          f'({min(ratios):.1f} to {max(ratios):.1f})')  # fmt: skip
    if args.out:
        args.out.write_text(json.dumps(runs, indent=1) + '\n')


if __name__ == '__main__':
    main()
