"""Region features against plain transformer blocks and transformers' Siglip2.

Everything runs in turn, round after round, in one process, so that a machine whose
speed drifts slows all of them alike; ratios are medians of per-round ratios. Peak
memory of a large dense map is measured in a process of its own.

    python -m benchmarks.encoder --rounds 7 --out encoder.json
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgclip2_det.fgclip2 import FGCLIP2, FGCLIP2Config

WIDTH, HEIGHT, NUM_BOXES, NUM_BLOCKS = 640, 480, 100, 13


class PlainBlock(nn.Module):
    """A pre-LN transformer block with a packed projection and nothing special."""

    def __init__(self, dims: int, hidden_dims: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm1, self.norm2 = nn.LayerNorm(dims), nn.LayerNorm(dims)
        self.qkv, self.out = nn.Linear(dims, 3 * dims), nn.Linear(dims, dims)
        self.fc1, self.fc2 = nn.Linear(dims, hidden_dims), nn.Linear(hidden_dims, dims)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        qkv = self.qkv(self.norm1(x)).unflatten(-1, (3, self.num_heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.out(y)
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x)), approximate='tanh'))


def siglip2_dense(config: FGCLIP2Config) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """transformers' vision model plus its pooling head with tokens as queries."""
    from transformers import Siglip2VisionConfig, Siglip2VisionModel

    vision = config.vision
    model = Siglip2VisionModel(
        Siglip2VisionConfig(
            hidden_size=vision.hidden_size,
            intermediate_size=vision.intermediate_size,
            num_hidden_layers=vision.num_hidden_layers,
            num_attention_heads=vision.num_attention_heads,
            num_patches=vision.num_patches,
            patch_size=vision.patch_size,
        )
    ).eval()
    head = getattr(model, 'vision_model', model).head

    def run(pixels: Tensor, mask: Tensor, grids: Tensor) -> Tensor:
        x = model(pixels, mask, grids).last_hidden_state
        bias = torch.zeros(mask.shape).masked_fill(mask == 0, torch.finfo().min)
        bias = bias[:, None, None].expand(-1, head.num_heads, x.shape[1], -1)
        y = head.attention(x, x, x, attn_mask=bias.flatten(0, 1))[0]
        return y + head.mlp(head.layernorm(y))

    return run


def timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


@torch.inference_mode()
def compare(rounds: int) -> dict:
    """Seconds of every competitor, and ratios round by round."""
    generator = torch.Generator().manual_seed(0)
    encoder = FGCLIP2.from_size('base', towers='vision', generator=generator)
    image = torch.randint(0, 256, (HEIGHT, WIDTH, 3), generator=generator)
    batch = encoder.preprocess(image.byte().numpy())
    corners = torch.rand(NUM_BOXES, 2, 2, generator=generator).sort(1).values
    boxes = corners.flatten(1) * torch.tensor([WIDTH, HEIGHT] * 2)
    vision = encoder.config.vision
    sizes = (vision.hidden_size, vision.intermediate_size, vision.num_attention_heads)
    blocks = nn.Sequential(*[PlainBlock(*sizes) for _ in range(NUM_BLOCKS)]).eval()
    num_tokens = batch.pixel_values.shape[1]
    tokens = torch.randn(1, num_tokens, vision.hidden_size, generator=generator)
    runs = {
        'region_features': lambda: encoder.region_features(batch, [boxes]),
        f'{NUM_BLOCKS} plain blocks': lambda: blocks(tokens),
    }
    try:
        siglip2 = siglip2_dense(encoder.config)
    except ImportError:
        print('transformers is not installed: that comparison is left out')
    else:
        padded = F.pad(batch.pixel_values, (0, 0, 0, 1024 - num_tokens))
        mask = (torch.arange(1024) < num_tokens)[None].int()
        runs['Siglip2VisionModel + head on every token'] = lambda: siglip2(
            padded, mask, batch.grid_sizes
        )
    for run in runs.values():
        run()  # warm-up
    seconds = {name: [] for name in runs}
    for number in range(rounds):
        for name, run in runs.items():
            seconds[name].append(timed(run))
        print(f'round {number + 1}/{rounds}', file=sys.stderr)
    ours = seconds['region_features']
    result = {'tokens': num_tokens, 'boxes': NUM_BOXES, 'rounds': rounds}
    for name, values in seconds.items():
        ratios = [a / b for a, b in zip(ours, values, strict=True)]
        result[name] = dict(
            seconds=statistics.median(values),
            ours_over_this=statistics.median(ratios),
            spread=[min(ratios), max(ratios)],
        )
    return result


@torch.inference_mode()
def dense_peak(num_patches: int) -> None:
    """Print the peak resident memory, in GB, of one dense map."""
    encoder = FGCLIP2.from_size('base', towers='vision')
    image = torch.randint(0, 256, (HEIGHT, WIDTH, 3)).byte().numpy()
    (dense,) = encoder.dense_features(encoder.preprocess(image, num_patches))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(json.dumps(dict(tokens=dense[0].numel(), peak_gb=peak)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--out', type=Path, help='JSON file for the figures')
    parser.add_argument('--dense-peak', type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.dense_peak:
        dense_peak(args.dense_peak)
        return
    result = compare(args.rounds)
    command = [sys.executable, '-m', 'benchmarks.encoder', '--dense-peak', '16384',
               '--threads', str(args.threads)]  # fmt: skip
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result['dense 16,384'] = json.loads(output.splitlines()[-1])
    result |= dict(threads=args.threads, torch=torch.__version__)
    print(f'base size, fp32, {WIDTH} x {HEIGHT}, {result["tokens"]} tokens, '
          f'{NUM_BOXES} boxes, {args.threads} threads')  # fmt: skip
    for name, row in result.items():
        if isinstance(row, dict) and 'seconds' in row:
            low, high = row['spread']
            ratio = f'{row["ours_over_this"]:.3f}  ({low:.3f} to {high:.3f})'
            seconds = f'{row["seconds"]:6.3f} s'
            print(f'  {name:<42} {seconds}  region_features / this = {ratio}')
    dense = result['dense 16,384']
    print(f'  dense features of {dense["tokens"]} tokens: peak '
          f'{dense["peak_gb"]:.2f} GB')  # fmt: skip
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + '\n')


if __name__ == '__main__':
    main()
