"""Re-scoring of one image: what it costs beside the encoder pass.

Everything runs in turn, round after round, in one process, so that a machine whose
speed drifts slows all of it alike; ratios are medians of per-round ratios. Base size,
random weights, 640 x 480. Peak memory is measured in processes of their own.
`--detectors` measures it against the time of detectors of transformers instead.

    python -m benchmarks.rescore --rounds 5 --out rescore.json
    python -m benchmarks.rescore --detectors --rounds 3
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from fgclip2_det import FGCLIP2
from fgclip2_det.fgclip2.roi import pool_regions
from fgclip2_det.models.fusion import OpenVocabGeometricFusion
from fgclip2_det.models.prediction_rescorer import PredictionRescorer
from fgclip2_det.vocabulary import load_list

WIDTH, HEIGHT, DIMS = 640, 480, 768
CROPS = 10  # of 100 boxes: their cost is linear
CHUNK = 40  # names a pass of LLMDet on LVIS, 300 boxes each


def random_boxes(n: int, generator: torch.Generator) -> Tensor:
    """(n, 4) xyxy inside the image, sides 16 px to half of it."""
    size = torch.tensor([WIDTH, HEIGHT])
    sides = 16 + torch.rand(n, 2, generator=generator) * (size / 2 - 16)
    start = torch.rand(n, 2, generator=generator) * (size - sides)
    return torch.cat([start, start + sides], 1)


class Case:
    """Boxes of one image with a vocabulary, and the parts of their re-scoring."""

    def __init__(
        self, encoder: FGCLIP2, image: np.ndarray, n: int, names: int, mode: str
    ) -> None:
        generator = torch.Generator().manual_seed(n + names)
        self.encoder, self.image = encoder, image
        self.boxes = random_boxes(n, generator)
        self.scores = torch.rand(n, generator=generator)
        first = torch.arange(n) // 300 * CHUNK  # of the row's chunk
        self.labels = (first + torch.randint(CHUNK, (n,), generator=generator)) % names
        embeds = F.normalize(torch.randn(names, DIMS, generator=generator), dim=-1)
        options = {} if mode == 'keep' else dict(nms_iou=0.7, max_per_image=300)
        self.rescorer = PredictionRescorer(
            encoder, embeds, OpenVocabGeometricFusion(), mode, **options
        )

    def after(self, dense: Tensor) -> None:
        """All that follows the dense map (h, w, D)."""
        boxes, box_of = self.boxes.unique(dim=0, return_inverse=True)
        (regions,) = pool_regions([dense], [(HEIGHT, WIDTH)], [boxes])
        cosines = F.normalize(regions, dim=-1) @ self.rescorer.class_embeds.T
        self.rescorer.fuse(cosines, boxes, box_of, self.scores, self.labels)

    def whole(self) -> None:
        """From the image to the results."""
        self.rescorer(self.image, self.boxes, self.scores, self.labels)


def crops(encoder: FGCLIP2, image: np.ndarray, boxes: Tensor, patches: int) -> None:
    """The first boxes cut out and encoded as images of their own."""
    full = Image.fromarray(image)
    cuts = [full.crop(box) for box in boxes[:CROPS].round().int().tolist()]
    encoder.encode_image(encoder.preprocess(cuts, patches))


def timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def in_turn(runs: dict[Any, Callable], rounds: int) -> dict[Any, list[float]]:
    """Seconds of every run, round by round, after a warm-up."""
    for run in runs.values():
        run()
    seconds = {name: [] for name in runs}
    for number in range(rounds):
        for name, run in runs.items():
            seconds[name].append(timed(run))
        print(f'round {number + 1}/{rounds}', file=sys.stderr)
    return seconds


def setting() -> tuple[FGCLIP2, np.ndarray]:
    generator = torch.Generator().manual_seed(0)
    encoder = FGCLIP2.from_size('base', towers='vision', generator=generator)
    image = torch.randint(0, 256, (HEIGHT, WIDTH, 3), generator=generator)
    return encoder, image.byte().numpy()


@torch.inference_mode()
def compare(rounds: int) -> dict[str, dict]:
    """Ratios of costs, by what they say."""
    encoder, image = setting()
    batch = encoder.preprocess([image])
    (dense,) = encoder.dense_features(batch)
    dense = dense.permute(1, 2, 0).contiguous()
    runs = {'pass': lambda: encoder.dense_features(encoder.preprocess([image]))}
    for n, mode in ((300, 'keep'), (300, 'joint'), (9300, 'keep'), (9300, 'joint')):
        case = Case(encoder, image, n, 1203, mode)
        runs[f'after, {n}, {mode}'] = lambda case=case: case.after(dense)
    for names in (80, 1203, 21000):
        case = Case(encoder, image, 300, names, 'keep')
        runs[f'whole, {names}'] = case.whole
    hundred = Case(encoder, image, 100, 80, 'keep')
    runs['whole, 100 boxes'] = hundred.whole
    for patches in (256, 1024):
        runs[f'crops, {patches}'] = lambda patches=patches: crops(
            encoder, image, hundred.boxes, patches
        )
    seconds = in_turn(runs, rounds)
    pairs = {
        '300 boxes x 1,203 names, keep / pass': ('after, 300, keep', 'pass'),
        '300 boxes x 1,203 names, joint / pass': ('after, 300, joint', 'pass'),
        '9,300 boxes x 1,203 names, keep / pass': ('after, 9300, keep', 'pass'),
        '9,300 boxes x 1,203 names, joint / pass': ('after, 9300, joint', 'pass'),
        'image with 1,203 names / 80 names': ('whole, 1203', 'whole, 80'),
        'image with 21,000 names / 80 names': ('whole, 21000', 'whole, 80'),
        '100 crops of 256 patches / 100 boxes': ('crops, 256', 'whole, 100 boxes'),
        '100 crops of 1,024 patches / 100 boxes': ('crops, 1024', 'whole, 100 boxes'),
    }
    result = {'seconds': {k: statistics.median(v) for k, v in seconds.items()}}
    for name, (a, b) in pairs.items():
        factor = len(hundred.boxes) / CROPS if 'crops' in a else 1
        ratios = [factor * x / y for x, y in zip(seconds[a], seconds[b], strict=True)]
        spread = [min(ratios), max(ratios)]
        result[name] = dict(ratio=statistics.median(ratios), spread=spread)
    return result


@torch.inference_mode()
def beside_detectors(rounds: int) -> dict[str, dict]:
    """What follows the encoder pass, against the detector's own pass: RT-DETR R50 with
    80 names, and 40 names of MM Grounding DINO Swin-T, which reads 1,203 in 31 passes.
    """
    import fgclip2_det.registration  # isort: skip  (before mmdet)
    from benchmarks.random_detectors import mm_grounding_dino, rt_detr
    from fgclip2_det.models.detectors.huggingface_detector import HuggingFaceDetector

    encoder, image = setting()
    batch = encoder.preprocess([image])
    dense = encoder.dense_features(batch)[0].permute(1, 2, 0).contiguous()
    result: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as folder:
        Image.fromarray(image).save(f'{folder}/image.png')
        for build, names, mode, rows in (
            (rt_detr, 80, 'keep', (300,)),
            (mm_grounding_dino, CHUNK, 'joint', (300, 9300)),
        ):  # fmt: skip
            path = str(build(Path(folder) / build.__name__))
            detector = HuggingFaceDetector(path, chunk_size=CHUNK).eval()
            listed = load_list('coco' if mode == 'keep' else 'lvis')
            detector.set_vocabulary(list(listed.names[:names]))
            passes = 1 if mode == 'keep' else 1203 / CHUNK
            asked = 80 if mode == 'keep' else 1203
            cases = {n: Case(encoder, image, n, asked, mode) for n in rows}
            runs = {n: lambda case=case: case.after(dense) for n, case in cases.items()}
            own = {'detector': lambda d=detector: d.detect(f'{folder}/image.png')}
            seconds = in_turn({**own, **runs}, rounds)
            for n in rows:
                pairs = zip(seconds[n], seconds['detector'], strict=True)
                ratios = [a / (passes * b) for a, b in pairs]
                result[f'{build.__name__}, {asked} names, {n} boxes, {mode}'] = dict(
                    ratio=statistics.median(ratios), spread=[min(ratios), max(ratios)],
                    detector=passes * statistics.median(seconds['detector']),
                    after=statistics.median(seconds[n]),
                )  # fmt: skip
    return result


@torch.inference_mode()
def peak(n: int, mode: str) -> None:
    """Print the peak resident GB of a pass alone, and of the whole re-scoring."""
    encoder, image = setting()
    case = Case(encoder, image, n, 1203, mode)
    runs = {
        'before': lambda: encoder.dense_features(encoder.preprocess([image])),
        'after': case.whole,
    }
    print(json.dumps({name: _peak_gb(run) for name, run in runs.items()}))


def _peak_gb(run: Callable[[], object]) -> float:
    """Peak of a run, not of what went before it (Linux)."""
    Path('/proc/self/clear_refs').write_text('5')
    run()
    lines = Path('/proc/self/status').read_text().splitlines()
    (kilobytes,) = (x.split()[1] for x in lines if x.startswith('VmHWM'))
    return int(kilobytes) * 1024 / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--out', type=Path, help='JSON file for the figures')
    parser.add_argument('--detectors', action='store_true')
    parser.add_argument('--peak', nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.peak:
        peak(int(args.peak[0]), args.peak[1])
        return
    if args.detectors:
        beside = beside_detectors(args.rounds)
        for name, row in beside.items():
            low, high = row['spread']
            print(f'  {name}: detector {row["detector"]:.2f} s, after the encoder pass '
                  f'{row["after"]:.4f} s, ratio {row["ratio"]:.4f} ({low:.4f} to '
                  f'{high:.4f})')  # fmt: skip
        if args.out:
            args.out.write_text(json.dumps(beside, indent=1) + '\n')
        return
    result = compare(args.rounds)
    for mode in ('keep', 'joint'):
        command = [sys.executable, '-m', 'benchmarks.rescore', '--peak', '9300', mode,
                   '--threads', str(args.threads)]  # fmt: skip
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        result[f'peak, {mode}'] = json.loads(done.stdout.splitlines()[-1])
    print(f'base size, fp32, {WIDTH} x {HEIGHT}, {args.threads} threads; encoder pass '
          f'{result["seconds"]["pass"]:.2f} s')  # fmt: skip
    for name, row in result.items():
        if 'ratio' in row:
            low, high = row['spread']
            print(f'  {name:<42} {row["ratio"]:7.3f}  ({low:.3f} to {high:.3f})')
    for mode in ('keep', 'joint'):
        row = result[f'peak, {mode}']
        print(f'  9,300 boxes x 1,203 names, {mode}: peak {row["after"]:.2f} GB, '
              f'{row["after"] - row["before"]:.2f} GB above the pass')  # fmt: skip
    result |= dict(threads=args.threads, torch=torch.__version__)
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + '\n')


if __name__ == '__main__':
    main()
