"""A training step of stage 2 against the released arrangement of the same step.

All work on one set of weights with one optimizer, and their losses are compared
before anything is timed. Steps are taken in turn, round after round, so that a machine
whose speed drifts slows both alike; the ratio is the median of per-round ratios. Where
seconds times threads are far above the CPU seconds, others were at work. Peak memory is
measured in processes of their own, and so is the sigmoid loss's at a global batch of
32,768.

    python -m benchmarks.alignment --rounds 5 --out alignment.json

'bfloat16' is our step with ``autocast``, left out on a CPU that does not multiply
bfloat16: PyTorch is many times slower in it there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import fgclip2_det.registration  # fills in what mmcv lacks
from benchmarks.plain_alignment import NUM_TEXTS, plain_losses
from fgclip2_det.fgclip2.low_precision import has_bfloat16_units
from pretrain.data import AlignmentBatch, AlignmentCollate, Sample
from pretrain.losses import sigmoid_loss
from pretrain.model import FGCLIP2Alignment

NUM_IMAGES, NUM_BOXES, NUM_PATCHES, SIDE = 4, 4, 256, 256
PAIRS, DIMS = 32_768, 768  # of the sigmoid loss
RATIOS = ('ours', 'released'), ('bfloat16', 'ours')


def make_sample(number: int) -> Sample:
    """A noise image with four boxes; half of the phrases are the short expression,
    which is the hard positive too."""
    draw = np.random.default_rng(number)
    pixels = draw.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    start = draw.uniform(0, SIDE / 2, (NUM_BOXES, 2))
    bboxes = np.concatenate([start, start + draw.uniform(32, 120, start.shape)], 1)
    names = [f'red cup no. {number}{k}' for k in range(NUM_BOXES)]
    pairs = [(name, f'the {name} on the table') for name in names]
    return Sample(
        image=Image.fromarray(pixels),
        language='en',
        short=f'a table with cups, no. {number}',
        long=f'on the table of room {number} there are ' + ', '.join(names),
        bboxes=bboxes.astype(np.float32),
        phrases=[pair[k % 2] for k, pair in enumerate(pairs)],
        hard_positives=names,
        hard_negatives=[
            [f'{name} of kind {i}' for i in range(NUM_TEXTS - 1)] for name in names
        ],
        true_texts=pairs,
    )


def setup(size: str) -> tuple[FGCLIP2Alignment, AlignmentBatch, torch.optim.Optimizer]:
    """Random weights, a batch, and the released optimizer settings."""
    batch = AlignmentCollate(max_num_patches=NUM_PATCHES)(
        [make_sample(number) for number in range(NUM_IMAGES)]
    )
    model = FGCLIP2Alignment(dict(size=size), dict(preset='released')).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=1e-6, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.001
    )
    return model, batch, optimizer


def our_losses(model: FGCLIP2Alignment, batch: AlignmentBatch) -> dict[str, Tensor]:
    """Weighted terms, with the first step's threshold."""
    model.cmr_threshold = torch.zeros(())
    return {k: v for k, v in model(batch).items() if k.startswith('loss')}


def low_losses(model: FGCLIP2Alignment, batch: AlignmentBatch) -> dict[str, Tensor]:
    """The same, the towers in bfloat16."""
    model.autocast = True
    losses = our_losses(model, batch)
    model.autocast = False
    return losses


LOSSES = dict(ours=our_losses, bfloat16=low_losses, released=plain_losses)


def losses_here() -> dict[str, Callable]:
    """Those that this CPU has units for."""
    low = has_bfloat16_units()
    return {
        name: losses for name, losses in LOSSES.items() if low or name != 'bfloat16'
    }


def pairs_here() -> list[tuple[str, str]]:
    return [pair for pair in RATIOS if losses_here().keys() >= set(pair)]


def step(
    losses: Callable,
    model: FGCLIP2Alignment,
    batch: AlignmentBatch,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Forward, backward, update."""
    optimizer.zero_grad(set_to_none=True)
    sum(losses(model, batch).values()).backward()
    optimizer.step()


@torch.no_grad()
def check_equal(model: FGCLIP2Alignment, batch: AlignmentBatch) -> float:
    """Largest difference between the terms, absolute or relative; an error if it
    exceeds 1e-4, or 0.05 in bfloat16."""
    ours, plain = our_losses(model, batch), plain_losses(model, batch)
    low = low_losses(model, batch) if 'bfloat16' in losses_here() else {}
    for name, value in low.items():
        if abs(value.item() - ours[name].item()) > 0.05 * max(1, abs(ours[name])):
            raise ValueError(f'{name}: {value.item()} and {ours[name].item()}')
    if ours.keys() != plain.keys():
        raise ValueError(f'terms differ: {sorted(ours)} and {sorted(plain)}')
    worst = 0.0
    for name, value in ours.items():
        difference = abs(value.item() - plain[name].item()) / max(1, abs(value.item()))
        if difference > 1e-4:
            raise ValueError(f'{name}: {value.item()} and {plain[name].item()}')
        worst = max(worst, difference)
    return worst


def compare(rounds: int, size: str) -> dict:
    """Images/s of the steps, and ratios round by round."""
    model, batch, optimizer = setup(size)
    result = dict(size=size, rounds=rounds, images=NUM_IMAGES, patches=NUM_PATCHES)
    result |= dict(regions=len(batch.phrase_index), distinct_texts=len(batch.box_ids))
    result['largest_difference'] = check_equal(model, batch)
    steps = {
        name: partial(step, losses, model, batch, optimizer)
        for name, losses in losses_here().items()
    }
    for parameter in optimizer.param_groups[0]['params']:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()  # makes the optimizer's state; the losses above were the warm-up
    seconds, cpu_seconds = ({name: [] for name in steps} for _ in range(2))
    for number in range(rounds):
        for name in list(steps)[:: (-1) ** number]:
            start, cpu_start = time.perf_counter(), time.process_time()
            steps[name]()
            seconds[name].append(time.perf_counter() - start)
            cpu_seconds[name].append(time.process_time() - cpu_start)
        print(f'round {number + 1}/{rounds}', file=sys.stderr)
    for name, values in seconds.items():
        median = statistics.median(values)
        result[name] = dict(seconds=median, images_per_s=NUM_IMAGES / median)
        result[name]['cpu_seconds'] = statistics.median(cpu_seconds[name])
    for pair in pairs_here():
        ratios = [a / b for a, b in zip(*map(seconds.get, pair), strict=True)]
        row = dict(median=statistics.median(ratios), spread=[min(ratios), max(ratios)])
        result['_over_'.join(pair)] = row
    return result


def resident_gb(field: str = 'VmRSS') -> float:
    """Resident memory of this process: at present, or with 'VmHWM' at its highest.

    Linux. ``getrusage`` will not do: its maximum is that of the process which started
    this one, where that was larger.
    """
    lines = Path('/proc/self/status').read_text().splitlines()
    values = dict(line.split(':', 1) for line in lines)
    return int(values[field].split()[0]) * 1024 / 1e9  # in kB


def step_peak(name: str, size: str) -> dict:
    """Memory of one step: all of it, and what is beyond weights and batch."""
    model, batch, optimizer = setup(size)
    before = resident_gb()
    step(LOSSES[name], model, batch, optimizer)
    peak = resident_gb('VmHWM')
    return dict(peak_gb=peak, above_weights_gb=peak - before)


def sigmoid_peak() -> dict:
    """Memory above the inputs, and seconds, of the sigmoid loss and its gradients."""
    draw = torch.Generator().manual_seed(0)
    inputs = [torch.randn(PAIRS, DIMS, generator=draw) for _ in range(2)]
    for x in inputs:
        for rows in x.split(1024):  # in place and in parts: no peak of its own
            rows.div_(rows.norm(dim=1, keepdim=True))
    numbers = [torch.tensor([2.3]), torch.tensor([-10.0])]
    leaves = [x.requires_grad_() for x in (*inputs, *numbers)]
    sigmoid_loss(*(leaf[:8] if leaf.ndim > 1 else leaf for leaf in leaves)).backward()
    for leaf in leaves:
        leaf.grad = None
    before, start = resident_gb(), time.perf_counter()
    sigmoid_loss(*leaves).backward()
    seconds = time.perf_counter() - start
    above = resident_gb('VmHWM') - before
    return dict(pairs=PAIRS, dims=DIMS, above_inputs_gb=above, seconds=seconds)


def in_own_process(args: argparse.Namespace, what: str) -> dict:
    """A measurement of memory, made by a fresh process."""
    command = [sys.executable, '-m', 'benchmarks.alignment', '--measure', what]
    command += ['--size', args.size, '--threads', str(args.threads)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def report(result: dict) -> None:
    print(
        f'stage 2, {result["size"]}, {NUM_IMAGES} images of {NUM_PATCHES} '
        f'patches, {result["regions"]} regions with ten negatives '
        f'({result["distinct_texts"]} distinct texts), {result["threads"]} threads'
    )
    for name in losses_here():
        row = result[name]
        print(
            f'  {name:<9}{row["seconds"]:7.2f} s ({row["cpu_seconds"]:.2f} s of all '
            f'CPUs)  {row["images_per_s"]:6.3f} images/s  '
            f'peak {row["peak_gb"]:.2f} GB, {row["above_weights_gb"]:.2f} above weights'
        )
    for pair in pairs_here():
        row = result['_over_'.join(pair)]
        low, high = row['spread']
        print(f'  {" / ".join(pair)} = {row["median"]:.3f}  ({low:.3f} to {high:.3f})')
    print(f'  losses differ from the released by {result["largest_difference"]:.1e}')
    row = result['sigmoid']
    print(
        f'  sigmoid loss of {row["pairs"]:,} pairs, {row["dims"]} dims: '
        f'{row["above_inputs_gb"]:.2f} GB above its inputs, {row["seconds"]:.1f} s'
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--size', default='base', choices=['tiny', 'base', 'large'])
    parser.add_argument('--out', type=Path, help='JSON file for the figures')
    parser.add_argument(
        '--measure', choices=[*LOSSES, 'sigmoid'], help=argparse.SUPPRESS
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.measure:
        is_step = args.measure in LOSSES
        figures = step_peak(args.measure, args.size) if is_step else sigmoid_peak()
        print(json.dumps(figures))
        return
    result = compare(args.rounds, args.size)
    for name in losses_here():
        result[name] |= in_own_process(args, name)
    result['sigmoid'] = in_own_process(args, 'sigmoid')
    result |= dict(threads=args.threads, torch=torch.__version__)
    report(result)
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + '\n')


if __name__ == '__main__':
    main()
