"""OpenVocabInferencer: start, names changed on an image, batches, memory.

Times are medians of per-round ratios, whose two sides run in turn in one process (or,
for the start, as processes one after the other), so that a machine whose speed drifts
slows both alike.

- start: ``detect`` with the embedded detector on one image, the whole process,
  against ``import torch, mmdet.apis``;
- names: the first call with a photograph of 640 x 480 against a second one with other
  names; base size, random weights, OV-COCO's config; two names each;
- batches: 64 images of 256 x 256 in batches of 8 against one by one, embedded
  detector, nothing kept; 96 x 96 tells what a small image gains;
- prompt_free: an image named from RAM's 4,585 tags against one that is asked for
  COCO's 80 names; OV-COCO's detector at base size with random weights, the embedded
  detector, and a re-scored one; nothing kept between images;
- memory: peak MB after 50 and after 300 images, other names for each of them.

    python -m benchmarks.inferencer --rounds 5 --threads 2
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.import_time import ROOT, compare, show

PARTS = 'start', 'names', 'batches', 'prompt_free', 'memory'
COLORS = 'red', 'blue', 'green', 'yellow', 'purple', 'orange', 'black', 'white'
SHAPES = 'circle', 'square', 'star', 'triangle', 'heart', 'cross', 'arrow', 'ring'
CONFIG = ROOT / 'configs/ov_coco/fgclip2-det_b16_sfpn_640_8xb8-3e_ov-coco.py'


def drawn(seed: int, size: tuple[int, int] = (256, 256)) -> np.ndarray:
    """(h, w, 3) of noise with a few discs; ``size`` is (w, h)."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(90, 160, (size[1], size[0], 3), np.uint8)
    image = Image.fromarray(pixels)
    for color in rng.choice(COLORS, 4):
        x, y = (int(v) for v in rng.integers(0, [size[0] - 40, size[1] - 40]))
        ImageDraw.Draw(image).ellipse((x, y, x + 38, y + 38), fill=str(color))
    return np.asarray(image)


def names(number: int) -> list[str]:
    """Two names, others for each number."""
    pairs = [' '.join(pair) for pair in product(COLORS, SHAPES)]
    return [pairs[(2 * number + i) % len(pairs)] for i in range(2)]


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def ratio(pairs: list[tuple[float, float]]) -> dict[str, float]:
    """Medians of both sides and of first / second."""
    first, second = zip(*pairs, strict=True)
    ratios = [a / b for a, b in pairs]
    return dict(
        first=statistics.median(first), second=statistics.median(second),
        ratio=statistics.median(ratios), low=min(ratios), high=max(ratios),
    )  # fmt: skip


def start(rounds: int, folder: Path) -> dict:
    path = folder / 'one.png'
    Image.fromarray(drawn(0)).save(path)
    detect = [
        str(ROOT / 'tools/detect.py'),
        str(path),
        '--names',
        'red circle; 黑色圆形',
    ]
    commands = {
        'import torch, mmdet.apis': [sys.executable, '-W', 'ignore', '-c',
                                     'import torch, mmdet.apis'],
        'detect one.png': [sys.executable, '-W', 'ignore', *detect, '--out',
                           str(folder / 'found')],
    }  # fmt: skip
    table = compare(commands, 'import torch, mmdet.apis', rounds)
    show(table)
    return table


def base_inferencer(folder: Path):
    """OV-COCO's detector at base size with random weights."""
    import torch
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    import fgclip2_det.registration  # isort: skip  (before mmdet)
    from mmdet.registry import MODELS

    from fgclip2_det import OpenVocabInferencer

    init_default_scope('mmdet')
    config = Config.fromfile(CONFIG)
    config.model.backbone.encoder = dict(size='base', seed=0)
    config.model.roi_head.bbox_head.classifier.logit_scale = 3.0
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    path = folder / 'base.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    inferencer = OpenVocabInferencer(path, config)
    path.unlink()
    return inferencer


def changed_names(rounds: int, folder: Path) -> dict:
    inferencer = base_inferencer(folder)
    image = drawn(0, (640, 480))
    inferencer(image, names(0))  # loads the text tower
    pairs = []
    for number in range(1, rounds + 1):
        inferencer.forget()
        first = seconds(lambda n=number: inferencer(image, names(2 * n)))
        second = seconds(lambda n=number: inferencer(image, names(2 * n + 1)))
        pairs.append((first, second))
    texts = seconds(lambda: inferencer.set_vocabulary(names(2 * rounds + 2)))
    return dict(ratio(pairs), encoding_two_names=texts)


def batches(rounds: int) -> dict:
    from fgclip2_det import OpenVocabInferencer

    inferencer = OpenVocabInferencer(cache_size=0)
    results = {}
    for side in (256, 96):
        images = [drawn(i, (side, side)) for i in range(64)]
        inferencer(images[:8], names(0), batch_size=8)
        pairs = []
        for _ in range(rounds):
            one = seconds(lambda i=images: inferencer(i, names(0)))
            eight = seconds(lambda i=images: inferencer(i, names(0), batch_size=8))
            pairs.append((one, eight))
        results[f'{side} x {side}'] = ratio(pairs)
    return results


def random_texts(vocabulary, *args, **options):
    """Random embeddings instead of a base text tower's, which takes minutes."""
    import torch

    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(len(vocabulary), 768, generator=generator)
    return torch.nn.functional.normalize(rows, dim=-1)


def prompt_free(rounds: int, folder: Path) -> dict:
    from benchmarks.random_detectors import rt_detr
    from fgclip2_det import OpenVocabInferencer, Vocabulary

    encoder = dict(size='base', seed=0)
    builders = {
        'embedded': lambda: OpenVocabInferencer(),
        'base size': lambda: base_inferencer(folder),
        're-scored RT-DETR': lambda: OpenVocabInferencer(
            detector=rt_detr(folder / 'rt_detr'), encoder=encoder
        ),
    }
    results = {}
    for name, build in builders.items():
        image = drawn(0, (640, 480) if name != 'embedded' else (256, 256))
        asked, free = build(), build()
        with (
            mock.patch.object(Vocabulary, 'embed', random_texts)
            if (name != 'embedded')
            else nullcontext()
        ):
            asked(image, Vocabulary.from_list_name('coco'))
            free.set_prompt_free('ram')
            free(image)
            pairs = []
            for _ in range(rounds):
                for each in (asked, free):
                    each.forget()
                pairs.append((seconds(lambda f=free, i=image: f(i)),
                              seconds(lambda a=asked, i=image: a(i))))  # fmt: skip
        results[name] = ratio(pairs)
    return results


def memory() -> dict:
    from fgclip2_det import OpenVocabInferencer

    inferencer = OpenVocabInferencer()
    peaks = {}
    for number in range(300):
        inferencer(drawn(number), names(number))
        if number + 1 in (50, 100, 200, 300):
            usage = resource.getrusage(resource.RUSAGE_SELF)
            peaks[number + 1] = round(usage.ru_maxrss / 1024, 1)
    return dict(peak_mb=peaks, growth_mb=round(peaks[300] - peaks[50], 1))


def main(args: argparse.Namespace) -> None:
    content: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if 'start' in args.parts:
            content['start'] = start(args.rounds, folder)
        if set(args.parts) - {'start'}:
            import torch

            torch.set_num_threads(args.threads)
        if 'memory' in args.parts:  # first: a peak never falls
            content['memory'] = memory()
        if 'batches' in args.parts:
            content['batches'] = batches(args.rounds)
        if 'prompt_free' in args.parts:
            content['prompt_free'] = prompt_free(args.rounds, folder)
        if 'names' in args.parts:
            content['names'] = changed_names(args.rounds, folder)
    print(json.dumps(content, indent=1, ensure_ascii=False))
    if args.out:
        args.out.write_text(json.dumps(content, indent=1) + '\n')


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=PARTS)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--out', type=Path)
    return parser


if __name__ == '__main__':
    main(parser().parse_args())
