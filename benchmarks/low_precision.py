"""The fast paths of inference against float32, part by part.

Both sides of a ratio run in turn, round after round, in one process; ratios are medians
of per-round ratios, with their range. With one thread seconds are those of the
processor, which others at work on the machine do not lengthen. Base size, random
weights, unless a part says more.

- regions: region features of 100 boxes, 640 x 480, in bfloat16 and in int8, and the
  lowest cosine of a region to float32's;
- products: the matrix products alone, of a block on 972 tokens: what the CPU allows;
- detector: the two-stage detector, 640 x 640, 1,203 names, and the share of its time
  outside the encoder;
- text: prompts of LVIS' names in 80 templates, evenly drawn, against float32 in batches
  of 256; and what 21,000 names take;
- compile: ``FGCLIP2.compile()`` on one grid, and programs compiled over 20 grids;
- agreement: top 1 of true boxes and of hard negatives on OVShapes, embedded model.

    python -m benchmarks.low_precision --parts regions detector --out low.json
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.fgclip2.checkpoint import ASSETS
from fgclip2_det.fgclip2.layers import BFLOAT16, linear
from fgclip2_det.fgclip2.low_precision import (
    Int8Linear,
    has_int8_units,
    quantize_int8,
    quantize_rows,
    to_bfloat16,
)
from fgclip2_det.vocabulary import Vocabulary
from fgclip2_det.vocabulary.embedding import TextSource, _Prompts, embed_groups
from fgclip2_det.vocabulary.name_lists import load_list

WIDTH, HEIGHT, NUM_BOXES, NUM_NAMES = 640, 480, 100, 1203
MANY_NAMES, NUM_TEMPLATES = 21_000, 80
BATCH = 256  # prompts at once, before


def now() -> float:
    """Seconds of a clock, see the top."""
    one = torch.get_num_threads() == 1
    return time.process_time() if one else time.perf_counter()


def rounds_of(
    runs: Mapping[str, Callable[[], Any]], rounds: int, warm_up: bool = True
) -> dict[str, list[float]]:
    """Seconds of every run, round by round, after one that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(0 if warm_up else 1, rounds + 1):
        for name, run in runs.items():
            start = now()
            run()
            if number:
                seconds[name].append(now() - start)
        print(f'round {number}/{rounds}', file=sys.stderr)
    return seconds


def compared(seconds: Mapping[str, list[float]], base: str) -> dict[str, dict]:
    """How many times as fast as ``base`` each is."""
    rows = {}
    for name, values in seconds.items():
        ratios = [a / b for a, b in zip(seconds[base], values, strict=True)]
        rows[name] = dict(
            seconds=statistics.median(values),
            times_as_fast=statistics.median(ratios),
            spread=[min(ratios), max(ratios)],
        )
    return rows


def noise(height: int, width: int) -> Tensor:
    """(3, H, W) uint8."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, height, width), generator=generator).byte()


def encoders(size: str = 'base') -> dict[str, FGCLIP2]:
    """Vision towers with the same weights."""
    generator = torch.Generator().manual_seed(0)
    exact = FGCLIP2.from_size(size, towers='vision', generator=generator)
    found = {'float32': exact}
    found['bfloat16'] = copy.deepcopy(exact).to(torch.bfloat16)
    if has_int8_units():
        found['int8'] = copy.deepcopy(exact).quantize_int8()
    return found


@torch.inference_mode()
def regions(rounds: int) -> dict:
    models = encoders()
    generator = torch.Generator().manual_seed(1)
    corners = torch.rand(NUM_BOXES, 2, 2, generator=generator).sort(1).values
    boxes = corners.flatten(1) * torch.tensor([WIDTH, HEIGHT] * 2)
    batch = models['float32'].preprocess(noise(HEIGHT, WIDTH))
    runs = {
        kind: lambda model=model: model.region_features(batch, [boxes])[0].float()
        for kind, model in models.items()
    }
    rows = compared(rounds_of(runs, rounds), 'float32')
    expected = runs['float32']()
    for kind, run in runs.items():
        cosines = F.cosine_similarity(run(), expected)
        rows[kind]['lowest_cosine'] = float(cosines.min())
    return rows


@torch.inference_mode()
def products(rounds: int) -> dict:
    """Ten times the products of fc1 and fc2."""
    torch.manual_seed(0)
    x, hidden = torch.randn(972, 768), torch.randn(972, 3072)
    weights = torch.randn(3072, 768), torch.randn(768, 3072)
    runs = {}
    for kind in (torch.float32, torch.bfloat16):
        pairs = [
            (a.to(kind), w.to(kind), torch.zeros(len(w), dtype=kind))
            for a, w in zip((x, hidden), weights, strict=True)
        ]
        name = str(kind).removeprefix('torch.')
        runs[name] = lambda pairs=pairs: [linear(*p) for p in pairs * 10]
    whole = [
        (quantize_rows(a)[0], Int8Linear(w, torch.zeros(len(w))))
        for a, w in zip((x, hidden), weights, strict=True)
    ]
    runs['int8'] = lambda: [layer.product(a) for a, layer in whole * 10]
    return compared(rounds_of(runs, rounds), 'float32')


@torch.inference_mode()
def detector(rounds: int) -> dict:
    from mmengine.registry import init_default_scope

    import fgclip2_det.registration
    from benchmarks.detector import SIZE, base_detector, detect, set_names

    init_default_scope('mmdet')
    exact, image = base_detector(), noise(SIZE, SIZE)
    models = {'float32': exact, 'bfloat16': copy.deepcopy(exact)}
    to_bfloat16(models['bfloat16'].backbone)
    if has_int8_units():
        models['int8'] = copy.deepcopy(exact)
        quantize_int8(models['int8'].backbone)
    stages: dict[str, dict[str, list[float]]] = {}
    runs = {}
    for kind, model in models.items():
        set_names(model, NUM_NAMES)
        head = model.roi_head
        stages[kind] = dict(
            encoder=timed_calls(model.backbone, 'extract'),
            pyramid=timed_calls(model.neck, 'forward'),
            proposals=timed_calls(model.rpn_head, 'predict'),
            roi_align=timed_calls(head.bbox_roi_extractor, 'forward'),
            bbox_head=timed_calls(head.bbox_head, 'forward'),
        )

        def run(model=model, low=kind == 'bfloat16') -> int:
            with torch.autocast('cpu', torch.bfloat16, enabled=low):
                return detect(model, image)

        runs[kind] = run
    seconds = rounds_of(runs, rounds)
    rows = compared(seconds, 'float32')
    for kind, row in rows.items():
        for stage, values in stages[kind].items():
            parts = zip(values[-rounds:], seconds[kind], strict=True)
            row[stage] = statistics.median(part / whole for part, whole in parts)
        row['outside_encoder'] = 1 - row['encoder']
    return rows


def timed_calls(module: Any, name: str) -> list[float]:
    """Seconds of each call of a method from now on."""
    own, seconds = getattr(module, name), []

    def call(*args, **options):
        start = now()
        result = own(*args, **options)
        seconds.append(now() - start)
        return result

    setattr(module, name, call)
    return seconds


@torch.inference_mode()
def text(rounds: int) -> dict:
    """Seconds are of one prompt."""
    generator = torch.Generator().manual_seed(0)
    exact = FGCLIP2.from_size('base', towers='text', generator=generator)
    low = copy.deepcopy(exact).to(torch.bfloat16)
    names = load_list('lvis').names
    listed = Vocabulary(names, templates='imagenet80', check=False).prompts()
    unique = list(dict.fromkeys(prompt for group in listed for prompt in group))
    groups = [[unique[i * len(unique) // BATCH]] for i in range(BATCH)]
    ids = exact.tokenize([group[0] for group in groups])
    sources = {'float32': TextSource(exact), 'bfloat16': TextSource(low)}
    if has_int8_units():
        sources['int8'] = TextSource(copy.deepcopy(exact).quantize_int8(text=True))
    runs = {f'float32, {BATCH} at once': lambda: exact.encode_text(ids, 'box', True)}
    counts = dict.fromkeys(runs, BATCH)
    for kind in sources:
        counts[kind] = count = BATCH // 4 if kind == 'float32' else BATCH // 2
        runs[kind] = partial(embed_groups, sources[kind], groups[:count])
    for source in sources.values():
        source.load().encode_text(ids[:2], 'box')  # a round is too long to warm up with
    seconds = {
        kind: [each / counts[kind] for each in values]
        for kind, values in rounds_of(runs, rounds, warm_up=False).items()
    }
    rows: dict[str, Any] = compared(seconds, next(iter(runs)))
    few = groups[:: BATCH // 8]
    expected = embed_groups(sources['float32'], few)
    for kind, source in sources.items():
        cosines = F.cosine_similarity(embed_groups(source, few), expected)
        rows[kind]['lowest_cosine'] = float(cosines.min())
    for row in rows.values():
        row['prompts_a_second'] = 1 / row['seconds']
    asked = len(names) * NUM_TEMPLATES
    rows['prompts'] = dict(measured=counts, lvis=len(unique), asked=asked)
    speeds = {kind: rows[kind]['prompts_a_second'] for kind in sources}
    rows['many names'] = plan(exact, unique, speeds)
    return rows


def plan(encoder: FGCLIP2, prompts: list[str], per_second: Mapping[str, float]) -> dict:
    """Hours and memory of :data:`MANY_NAMES` names in 80 templates, each prompt other
    than all others, from figures of these prompts and a batch."""
    start = now()
    tokens = _Prompts(encoder, prompts)
    seconds = (now() - start) / len(prompts)
    tensors = (tokens._ids, tokens._lengths, tokens._ends, tokens.order)
    ids = sum(x.numel() * x.element_size() for x in tensors) / len(prompts)
    strings = sum(map(sys.getsizeof, prompts)) / len(prompts)
    count = MANY_NAMES * NUM_TEMPLATES
    weights = sum(p.numel() for p in encoder.parameters()) * 2
    return dict(
        prompts=count,
        hours={kind: count / each / 3600 for kind, each in per_second.items()},
        tokenizing_minutes=count * seconds / 60,
        gb=dict(
            prompts=count * (strings + 8) / 1e9,  # and a pointer in their group
            ids=count * ids / 1e9,
            places=count * 8 * 5 / 1e9,  # int64: place, places, owners and two sorts
            sums=MANY_NAMES * encoder.embed_dims * 4 / 1e9,
            weights=weights / 1e9,
            all_embeddings_at_once=count * encoder.embed_dims * 4 / 1e9,  # not kept
        ),
    )


@torch.no_grad()
def compile_part(rounds: int) -> dict:
    from torch._dynamo.utils import counters

    models = encoders()
    rows: dict[str, Any] = {}
    batch = models['float32'].preprocess(noise(HEIGHT, WIDTH))
    for kind in ('float32', 'bfloat16'):
        compiled = copy.deepcopy(models[kind])
        compiled.compile()
        start = now()
        compiled.dense_grids(batch)
        first = now() - start
        runs = {
            kind: partial(models[kind].dense_grids, batch),
            f'{kind}, compiled': partial(compiled.dense_grids, batch),
        }
        rows |= compared(rounds_of(runs, rounds), kind)
        rows[f'{kind}, compiled']['first_call_seconds'] = first
    counters.clear()
    torch._dynamo.reset()
    tiny = FGCLIP2.from_size('tiny', towers='vision')
    tiny.compile()
    for i in range(20):
        image = noise(32 + 16 * (i % 7), 48 + 16 * (i % 5))
        tiny.dense_grids(tiny.preprocess(image))
    rows['programs over 20 grids'] = counters['stats']['unique_graphs']
    return rows


def agreement(num_images: int) -> dict:
    from fgclip2_det.zeroshot import evaluate_ovshapes

    changes = {
        'float32': lambda model: model,
        'bfloat16': lambda model: model.to(torch.bfloat16),
        'int8': quantize_int8,
    }
    if not has_int8_units():
        del changes['int8']
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, change in changes.items():
            model: Any = change(FGCLIP2.from_pretrained(ASSETS))
            found = evaluate_ovshapes(model, folder, num_images=num_images)
            chosen = {
                name: value
                for name, value in found['metrics'].items()
                if name.startswith(('box_top1/', 'hard11'))
            }
            first = rows.get('float32', chosen)
            differences = [abs(value - first[name]) for name, value in chosen.items()]
            rows[kind] = dict(chosen, largest_difference=max(differences))
            rows['boxes'] = {k: found['denominators'][k] for k in chosen}
    return rows


def show(name: str, rows: Mapping[str, Any]) -> None:
    """A part's table."""
    print(name)
    for kind, row in rows.items():
        if not isinstance(row, dict) or 'seconds' not in row:
            print(f'  {kind}: {json.dumps(row)}')
            continue
        low, high = row['spread']
        more = ''.join(
            f', {key} {value:.5f}'
            for key, value in row.items()
            if key not in ('seconds', 'times_as_fast', 'spread')
        )
        print(f'  {kind:<24} {row["seconds"]:7.3f} s  {row["times_as_fast"]:.2f} '
              f'({low:.2f} to {high:.2f}) times as fast{more}')  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts: dict[str, Callable[[argparse.Namespace], dict]] = {
        'regions': lambda args: regions(args.rounds),
        'products': lambda args: products(args.rounds),
        'detector': lambda args: detector(args.rounds),
        'text': lambda args: text(args.rounds),
        'compile': lambda args: compile_part(args.rounds),
        'agreement': lambda args: agreement(args.images),
    }
    add = parser.add_argument
    add('--parts', nargs='+', choices=list(parts), default=list(parts))
    add('--rounds', type=int, default=5)
    add('--images', type=int, default=300, help='of the agreement')
    add('--threads', type=int, default=2)
    add('--out', type=Path, help='JSON file for the figures')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    units = dict(
        capability=torch.backends.cpu.get_cpu_capability(),
        bfloat16=BFLOAT16,
        vnni=has_int8_units(),
        amx=bool(getattr(torch.cpu, '_is_amx_tile_supported', lambda: False)()),
    )
    result: dict[str, Any] = dict(
        threads=args.threads, torch=torch.__version__, units=units
    )
    print(f'{args.threads} threads, {json.dumps(units)}')
    for name in args.parts:
        result[name] = parts[name](args)
        show(name, result[name])
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + '\n')


if __name__ == '__main__':
    main()
