"""Checks on a CUDA device: equality with the CPU, speed, memory.

    python -m benchmarks.gpu --out gpu.json
    python -m benchmarks.gpu --device cpu --tiny   # tries the script

First the checks of ``gpu_checks.py``: losses and predictions of tiny models on the
device and on the CPU. Then base size, random weights: region features, the detector's
prediction and training step, and a step of the alignment, in float32 (TF32 off) and
under bfloat16 autocast, the encoder also under ``torch.compile``. Peak memory is what
PyTorch allocated, the weights included. A step means forward, backward and AdamW.

Nothing new starts after --minutes, so that the command ends; what was left out is a
line of the table. The exit code is 1 if a check or a line failed.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

from fgclip2_det.compat import mm  # before mmdet

# isort: split
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

import fgclip2_det
from benchmarks.gpu_checks import CHECKS, autocast, run_check
from benchmarks.gpu_models import (
    NAMES,
    alignment,
    alignment_batch,
    detection_data,
)

ROOT = Path(__file__).resolve().parents[1]
MIN_SECONDS, MAX_RUNS = 2.0, 20
Work = tuple[Callable[[], object], int]  # a run, and its images


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--tiny', action='store_true', help='tiny models, two images')
    parser.add_argument('--no-compile', action='store_true')
    parser.add_argument('--minutes', type=float, default=7.0)
    parser.add_argument('--out', type=Path, help='a JSON file')
    return parser.parse_args()


class Bench:
    """Builds what is timed.

    Args:
        device: 'cuda' or 'cpu'.
        tiny: tiny models on two images.
    """

    def __init__(self, device: str, tiny: bool) -> None:
        self.device, self.tiny = device, tiny
        self.size, self.images = ('tiny', 2) if tiny else ('base', 8)

    def regions(self, bfloat16: bool, compiled: bool = False) -> Work:
        """Region features of 100 boxes an image of 640 x 480."""
        generator = torch.Generator().manual_seed(0)
        encoder = fgclip2_det.FGCLIP2.from_size(self.size, generator=generator)
        encoder = encoder.to(self.device).eval()
        sides = (96, 64) if self.tiny else (640, 480)
        pixels = torch.zeros(sides[1], sides[0], 3, dtype=torch.uint8).numpy()
        batch = encoder.preprocess([pixels] * self.images).to(self.device)
        boxes = [torch.tensor([[4.0, 4, 60, 50]] * 100, device=self.device)]
        if compiled:
            encoder.vision_model.compile()

        @torch.no_grad()
        def run() -> None:
            with autocast(self.device, bfloat16):
                encoder.region_features(batch, boxes * self.images)

        return run, self.images

    def detector(self) -> nn.Module:
        name = 'tiny' if self.tiny else 'b16'
        path = ROOT / f'configs/_base_/models/fgclip2-det_{name}_sfpn.py'
        cfg = Config.fromfile(path).model
        cfg.backbone.encoder = dict(size=self.size, seed=0)
        torch.manual_seed(0)
        model = MODELS.build(cfg)
        model.init_weights()
        model.set_vocabulary(fgclip2_det.Vocabulary(NAMES, novel_classes=NAMES[2:]))
        return model.to(self.device)

    def detection_data(self) -> dict:
        return detection_data(
            sizes=[(96, 96) if self.tiny else (640, 640)] * self.images
        )

    def prediction(self, bfloat16: bool) -> Work:
        """The detector's boxes on 640 x 640."""
        model, data = self.detector().eval(), self.detection_data()

        @torch.no_grad()
        def run() -> None:
            with autocast(self.device, bfloat16):
                model.test_step(dict(data))

        return run, self.images

    def detection(self, bfloat16: bool) -> Work:
        """A training step of the detector, the encoder frozen as in the config."""
        model, data = self.detector().train(), self.detection_data()
        return self.step(model, lambda: self.losses(model, data, bfloat16)), self.images

    def losses(self, model: nn.Module, data: dict, bfloat16: bool) -> dict:
        inputs = model.data_preprocessor(dict(data), True)
        with autocast(self.device, bfloat16):
            return model(**inputs, mode='loss')

    def alignment(self, bfloat16: bool) -> Work:
        """A step of stage 2: 256 patches and four boxes an image, all losses."""
        model = alignment(bfloat16, self.size).to(self.device).train()
        images, side = (2, 96) if self.tiny else (32, 256)
        batch = alignment_batch(images, 4, side).to(self.device)
        return self.step(model, lambda: model(batch, mode='loss')), images

    def step(self, model: nn.Module, losses: Callable[[], dict]) -> Callable[[], None]:
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=1e-6)

        def run() -> None:
            optimizer.zero_grad(set_to_none=True)
            model.parse_losses(losses())[0].backward()
            optimizer.step()

        return run

    def rows(self, compiled: bool) -> dict[str, Callable[[], Work]]:
        """Name of a line -> what builds it."""
        rows = {}
        for bfloat16, kind in ((False, 'float32'), (True, 'bfloat16')):
            rows[f'region features, {kind}'] = partial(self.regions, bfloat16)
            rows[f'prediction, {kind}'] = partial(self.prediction, bfloat16)
            rows[f'detection step, {kind}'] = partial(self.detection, bfloat16)
            rows[f'alignment step, {kind}'] = partial(self.alignment, bfloat16)
            if compiled:
                name = f'region features, {kind}, torch.compile'
                rows[name] = partial(self.regions, bfloat16, compiled=True)
        return rows


def measure(build: Callable[[], Work], device: str) -> dict:
    """Seconds of the first and of a later run, images/s, peak MiB (None on a CPU)."""
    on_gpu = device.startswith('cuda')

    def wait() -> float:
        if on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter()

    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    run, images = build()
    start = wait()
    run()
    first, runs = wait() - start, 0
    start = wait()
    while runs < MAX_RUNS and (not runs or wait() - start < MIN_SECONDS):
        run()
        runs += 1
    seconds = (wait() - start) / runs
    peak = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else None
    return dict(
        first_seconds=first, seconds=seconds, runs=runs,
        images_per_second=images / seconds, peak_mib=peak,
    )  # fmt: skip


def check_all(device: str) -> list[dict]:
    """Every difference from the CPU, printed."""
    rows = []
    for name in CHECKS:
        for d in run_check(name, device):
            rows.append(dict(check=name, passed=d.passed, **vars(d)))
            mark = '' if d.passed else '  FAILED'
            print(f'{name:10} {d.what:28} {d.value:9.2e} of {d.limit:.0e}{mark}')
    return rows


def measure_all(bench: Bench, compiled: bool, deadline: float) -> list[dict]:
    """Every line, printed as Markdown; errors and lines left out are lines, too."""
    print('\n| | images/s | s | first run, s | peak, MiB |\n|---|---|---|---|---|')
    rows = []
    for name, build in bench.rows(compiled).items():
        row = dict(name=name)
        if time.monotonic() > deadline:
            row['left_out'] = 'no time left'
        else:
            try:
                row |= measure(build, bench.device)
            except RuntimeError as error:  # out of memory, no compiler
                row['error'] = f'{type(error).__name__}: {str(error)[:300]}'
        rows.append(row)
        if 'seconds' in row:
            peak = '' if row['peak_mib'] is None else f'{row["peak_mib"]:.0f}'
            cells = [f'{row["images_per_second"]:.3g}', f'{row["seconds"]:.3g}',
                     f'{row["first_seconds"]:.3g}', peak]  # fmt: skip
        else:
            text = row.get('error') or row['left_out']
            cells = [text.replace('\n', ' ').replace('|', '/')[:100], '', '', '']
        print(f'| {name} | {" | ".join(cells)} |', flush=True)
    return rows


def main() -> None:
    args = parse_args()
    on_gpu = args.device.startswith('cuda')
    if on_gpu and not torch.cuda.is_available():
        sys.exit('no CUDA device: torch.cuda.is_available() is False; --device cpu '
                 '--tiny tries the script')  # fmt: skip
    init_default_scope('mmdet')
    logging.disable(logging.INFO)  # how every weight was initialised
    start = time.monotonic()
    kind = torch.cuda.get_device_name() if on_gpu else platform.machine()
    print(f'{kind}, torch {torch.__version__}')
    result = dict(device=kind, torch=torch.__version__, tiny=args.tiny)
    result['checks'] = check_all(args.device)
    bench = Bench(args.device, args.tiny)
    deadline = start + args.minutes * 60
    result['rows'] = measure_all(bench, not args.no_compile, deadline)
    result['total_seconds'] = round(time.monotonic() - start, 1)
    print(f'\n{result["total_seconds"]} s in all')
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + '\n')
    failed = any(not check['passed'] for check in result['checks'])
    sys.exit(int(failed or any('error' in row for row in result['rows'])))


if __name__ == '__main__':
    main()
