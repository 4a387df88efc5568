"""A step of Muon on a CPU: PyTorch's against ours, in turn in one process.

The matrices are those of the tiny FG-CLIP 2, random gradients. Ours iterates in float32
and takes matrices of one shape together; PyTorch's in bfloat16, one by one. The ratio
is the median over rounds.

    python -m benchmarks.muon --rounds 5 --threads 1
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from fgclip2_det import FGCLIP2
from fgclip2_det.fgclip2.low_precision import has_bfloat16_units
from pretrain.muon import CPUMuon
from pretrain.optim import MATRICES

OPTIONS = dict(lr=1e-3, weight_decay=0.05)


def matrices() -> list[nn.Parameter]:
    """Those that Muon moves, each with a gradient."""
    generator = torch.Generator().manual_seed(0)
    model = FGCLIP2.from_size('tiny', generator=generator)
    found = [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.ndim == 2 and MATRICES.search(name)
    ]
    for parameter in found:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--rounds', type=int, default=5, help='default: 5')
    add('--threads', type=int, default=1, help='default: 1')
    add('--out', type=Path, help='JSON')
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    theirs, ours = matrices(), matrices()
    optimizers = {
        'PyTorch': torch.optim.Muon(theirs, adjust_lr_fn='match_rms_adamw', **OPTIONS),
        'ours': CPUMuon([dict(params=ours, **OPTIONS)]),
    }
    seconds: dict[str, list[float]] = {name: [] for name in optimizers}
    for number in range(args.rounds + 1):
        for name, optimizer in optimizers.items():
            start = time.process_time()
            optimizer.step()
            if number:  # the first one warms up
                seconds[name].append(time.process_time() - start)
    ratios = [a / b for a, b in zip(seconds['PyTorch'], seconds['ours'], strict=True)]
    figures = dict(
        matrices=len(ours),
        bfloat16_units=has_bfloat16_units(),
        threads=args.threads,
        torch=torch.__version__,
        seconds={name: statistics.median(row) for name, row in seconds.items()},
        ratio=statistics.median(ratios),
        spread=[min(ratios), max(ratios)],
    )
    print(
        f'{len(ours)} matrices, bfloat16 units: {has_bfloat16_units()}; PyTorch '
        f'{figures["seconds"]["PyTorch"]:.3f} s, ours {figures["seconds"]["ours"]:.3f} '
        f's: {figures["ratio"]:.1f} ({min(ratios):.1f} to {max(ratios):.1f}) times as '
        'fast'
    )
    if args.out is not None:
        args.out.write_text(json.dumps(figures, indent=1) + '\n')


if __name__ == '__main__':
    main()
