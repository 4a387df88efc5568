"""FG-CLIP 1's dense and region features against plain transformer blocks.

Random weights of base (12 blocks, 197 tokens) or large (24 blocks, 577 tokens); plain
blocks as many, on as many tokens, with FG-CLIP 1's sizes. Both run in turn, round after
round, in one process; ratios are medians of per-round ratios. Seconds are those of the
processor, summed over threads, so that other work on the machine counts less.

    OMP_NUM_THREADS=1 python -m benchmarks.fgclip1 --rounds 9 --out fgclip1.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from benchmarks.encoder import HEIGHT, NUM_BOXES, WIDTH, PlainBlock
from fgclip2_det.fgclip1 import FGCLIP1

SIZES = ('base', 'large')


def timed(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


@torch.inference_mode()
def compare(size: str, rounds: int, grid_side: int | None = None) -> dict:
    """Seconds of every competitor, and ratios round by round.

    Args:
        size: 'base' or 'large'.
        rounds: measurements of each.
        grid_side: patches per side; None for the model's own.
    """
    generator = torch.Generator().manual_seed(0)
    encoder = FGCLIP1.from_size(size, towers='vision', generator=generator)
    vision = encoder.config.vision
    side = grid_side or vision.grid_side
    image = torch.randint(0, 256, (HEIGHT, WIDTH, 3), generator=generator)
    batch = encoder.preprocess(image.byte().numpy(), side**2)
    corners = torch.rand(NUM_BOXES, 2, 2, generator=generator).sort(1).values
    boxes = corners.flatten(1) * torch.tensor([WIDTH, HEIGHT] * 2)
    sizes = (vision.hidden_size, vision.intermediate_size, vision.num_attention_heads)
    count = vision.num_hidden_layers
    blocks = nn.Sequential(*[PlainBlock(*sizes) for _ in range(count)]).eval()
    tokens = torch.randn(1, side**2 + 1, vision.hidden_size, generator=generator)
    plain = f'{count} plain blocks'
    runs: dict[str, Callable[[], object]] = {
        'dense_features': lambda: encoder.dense_features(batch),
        'region_features': lambda: encoder.region_features(batch, [boxes]),
        'encode_image': lambda: encoder.encode_image(batch),
        'encode (image and dense)': lambda: encoder.encode(batch),
        plain: lambda: blocks(tokens),
    }
    for run in runs.values():
        run()  # warm-up
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        for name, run in runs.items():
            seconds[name].append(timed(run))
        print(f'{size} {side}: round {number + 1}/{rounds}', file=sys.stderr)
    result: dict = dict(size=size, tokens=side**2 + 1, boxes=NUM_BOXES, rounds=rounds)
    for name, values in seconds.items():
        ratios = [a / b for a, b in zip(values, seconds[plain], strict=True)]
        result[name] = dict(
            seconds=statistics.median(values),
            over_plain_blocks=statistics.median(ratios),
            spread=[min(ratios), max(ratios)],
        )
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--sizes', nargs='+', choices=SIZES, default=['base'])
    parser.add_argument('--grid-side', type=int, help="default: the model's own")
    parser.add_argument('--out', type=Path)
    args = parser.parse_args()
    results = [compare(size, args.rounds, args.grid_side) for size in args.sizes]
    text = json.dumps(results, indent=2)
    if args.out:
        args.out.write_text(f'{text}\n', encoding='utf-8')
    print(text)


if __name__ == '__main__':
    main()
