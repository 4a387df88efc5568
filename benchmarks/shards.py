"""Reading tar shards: this project's loader, decoding alone, and ``webdataset``.

The same shards of JPEG images of 640 x 480 with a caption and two boxes each, written
by ``write_shards``. In turn, round after round, in one process without workers: the
image files, already in memory, decoded by Pillow; the loader, shuffled over all shards;
and ``webdataset``, where it is installed (``pip install webdataset==1.0.2``), with a
shuffle buffer of the same size, its PIL decoder and JSON parser. Each side holds the
images of a batch of 32 at a time. Ratios are medians of per-round ratios of images per
second.

    python -m benchmarks.shards --images 600 --rounds 5 --out shards.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from pretrain.data.shards import ShardDataset, write_shards

SIZE, PER_SHARD, BATCH = (640, 480), 200, 32


def draw(path: Path, rng: np.random.Generator) -> None:
    """A JPEG of smooth colours with noise, which takes as long as a photograph."""
    small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
    image = np.asarray(small.resize(SIZE, Image.Resampling.BICUBIC), np.int16)
    noise = rng.integers(-12, 13, (SIZE[1], SIZE[0], 1), np.int16)
    array = (image + noise).clip(0, 255).astype(np.uint8)
    Image.fromarray(array).save(path, quality=90)


def make_shards(folder: Path, count: int) -> Path:
    """Shards of ``count`` images."""
    rng, records = np.random.default_rng(0), []
    images = folder / 'images'
    images.mkdir()
    for number in range(count):
        draw(images / f'{number}.jpg', rng)
        boxes = [
            {
                'bbox': [0.1, 0.1, 0.4, 0.5],
                'short_expr': 'a cup',
                'long_expr': 'a red cup',
            },
            {'bbox': [0.2, 0.2, 0.9, 0.9], 'short_expr': 'cat', 'long_expr': 'a cat'},
        ]
        records.append({
            'f_path': f'{number}.jpg', 'short_caption': f'image {number}',
            'caption': f'image {number} of smooth colours', 'bbox_info': boxes,
        })  # fmt: skip
    file = folder / 'records.json'
    file.write_text(json.dumps(records))
    write_shards(file, images, folder / 'shards', max_per_shard=PER_SHARD)
    return folder / 'shards'


def decode(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data))
    image.load()
    return image


def count_batches(images: Iterable[object]) -> int:
    """Take images a batch at a time, as training holds them; returns how many."""
    images, count = iter(images), 0
    while batch := list(islice(images, BATCH)):
        count += len(batch)
    return count


def read_ours(shards: Path, count: int, epoch: int) -> int:
    data = ShardDataset(shards, BATCH, shuffle_buffer=count, seed=0)
    data.set_epoch(epoch)
    return sum(len(batch) for batch in data)


def read_webdataset(shards: Path, count: int, epoch: int) -> int:
    import webdataset

    urls = [str(path) for path in sorted(shards.glob('*.tar'))]
    data = webdataset.WebDataset(urls, shardshuffle=len(urls), seed=epoch)
    data = data.shuffle(count, initial=count).decode('pil').to_tuple('jpg', 'json')
    return count_batches(data)


def rate(work: Callable[[int], int], epoch: int) -> float:
    """Images a second."""
    start = time.perf_counter()
    count = work(epoch)
    return count / (time.perf_counter() - start)


def measure(count: int, rounds: int) -> dict:
    """Rates of every side, and ratios to the loader's."""
    with tempfile.TemporaryDirectory() as name:
        shards = make_shards(Path(name), count)
        images = sorted((Path(name) / 'images').iterdir())
        files = [path.read_bytes() for path in images]
        sides: dict[str, Callable[[int], int]] = {
            'decoding': lambda _: count_batches(map(decode, files)),
            'loader': lambda epoch: read_ours(shards, count, epoch),
        }
        if find_spec('webdataset'):
            sides['webdataset'] = lambda epoch: read_webdataset(shards, count, epoch)
        rates: dict[str, list[float]] = {side: [] for side in sides}
        for number in range(-1, rounds):
            for side, work in sides.items():
                value = rate(work, max(number, 0))
                if number >= 0:  # the first time is for caches
                    rates[side].append(value)
            print(f'round {number + 1}/{rounds}', file=sys.stderr)
    return {'images': count, 'rates': rates, 'ratios': _ratios(rates)}


def _ratios(rates: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    ratios = {}
    for side, values in rates.items():
        if side != 'loader':
            pairs = zip(rates['loader'], values, strict=True)
            each = [ours / theirs for ours, theirs in pairs]
            ratios[side] = {
                'median': statistics.median(each), 'min': min(each), 'max': max(each)
            }  # fmt: skip
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--images', type=int, default=600)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--out', type=Path, help='JSON file for the figures')
    args = parser.parse_args()
    result = measure(args.images, args.rounds)
    for side, values in result['rates'].items():
        print(f'{side:<11} {statistics.median(values):8.1f} images/s')
    for side, ratio in result['ratios'].items():
        print('loader / {} {median:.3f} ({min:.3f} to {max:.3f})'.format(side, **ratio))
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + '\n')


if __name__ == '__main__':
    main()
