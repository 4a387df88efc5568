"""Times the PyTorch ops of fgclip2_det against mmcv's compiled ones, on a CPU.

Both are measured in turns within one run, and the medians are compared.

Example:
    python -m benchmarks.ops --compiled onedl_mmcv-2.3.6-cp311-cp311-linux_x86_64.whl
"""

import argparse
import importlib.util
import json
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType

import torch

from fgclip2_det.compat import mmcv_ext


def load_compiled(wheel: Path, folder: Path) -> ModuleType:
    """The compiled ``_ext`` of an mmcv wheel, without installing the wheel.

    Args:
        wheel: an mmcv wheel with compiled ops.
        folder: where to unpack the library; it must outlive the module.

    Raises:
        ValueError: the wheel has no library for this Python.
    """
    with zipfile.ZipFile(wheel) as archive:
        suffix = EXTENSION_SUFFIXES[0]
        names = [name for name in archive.namelist() if name == f'mmcv/_ext{suffix}']
        if not names:
            raise ValueError(
                f'{wheel} has no mmcv/_ext{suffix}; take a wheel built for this Python'
            )
        path = archive.extract(names[0], folder)
    spec = importlib.util.spec_from_file_location('_ext', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_boxes(count: int, size: float, generator: torch.Generator) -> torch.Tensor:
    """(count, 4) xyxy boxes in a square of ``size`` pixels, 5 to 740 pixels wide."""
    centers = torch.rand(count, 2, generator=generator) * size
    half = (torch.rand(count, 2, generator=generator) * 5).exp() * 2.5
    return torch.cat([centers - half, centers + half], 1).clamp(0, size)


def nms_case(count: int, clusters: int) -> Callable[[ModuleType], Callable]:
    """``count`` proposals around ``clusters`` objects, as a detector makes them."""
    generator = torch.Generator().manual_seed(0)
    boxes = make_boxes(clusters, 800, generator)
    boxes = boxes[torch.randint(clusters, (count,), generator=generator)]
    boxes = boxes + torch.randn(count, 4, generator=generator) * 4
    scores = torch.rand(count, generator=generator)
    return lambda ext: lambda: ext.nms(boxes, scores, iou_threshold=0.7, offset=0)


def roi_align_case(
    sampling_ratio: int, pool_mode: int = 1, num_rois: int = 1000
) -> Callable[[ModuleType], Callable]:
    """Forward and backward of 7 x 7 bins on a 256 x 50 x 50 map of stride 16."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, 256, 50, 50, generator=generator)
    boxes = make_boxes(num_rois, 800, generator)
    rois = torch.cat([torch.zeros(num_rois, 1), boxes], 1)
    output = torch.zeros(num_rois, 256, 7, 7)
    argmax = output.clone(), output.clone()
    settings = {
        'aligned_height': 7,
        'aligned_width': 7,
        'spatial_scale': 1 / 16,
        'sampling_ratio': sampling_ratio,
        'pool_mode': pool_mode,
        'aligned': True,
    }

    def build(ext: ModuleType) -> Callable:
        def run() -> None:
            ext.roi_align_forward(features, rois, output, *argmax, **settings)
            grad = torch.zeros_like(features)
            ext.roi_align_backward(output, rois, *argmax, grad, **settings)

        return run

    return build


def softnms_case(count: int) -> Callable[[ModuleType], Callable]:
    generator = torch.Generator().manual_seed(0)
    boxes = make_boxes(count, 800, generator)
    scores, dets = torch.rand(count, generator=generator), torch.empty(count, 5)
    settings = {'iou_threshold': 0.5, 'sigma': 0.5, 'min_score': 1e-3}
    return lambda ext: (
        lambda: ext.softnms(boxes, scores, dets, **settings, method=1, offset=0)
    )


CASES = {
    'nms, 2 000 boxes, 100 objects': nms_case(2000, 100),
    'nms, 2 000 boxes, 1 000 objects': nms_case(2000, 1000),
    'nms, 10 000 boxes, 1 000 objects': nms_case(10_000, 1000),
    'soft-nms, 500 boxes': softnms_case(500),
    'roi_align, 1 000 RoIs, adaptive': roi_align_case(0),
    'roi_align, 1 000 RoIs, ratio 2': roi_align_case(2),
    'roi_align max, 200 RoIs, ratio 2': roi_align_case(2, 0, 200),
}


def measure(runs: list[Callable], repeats: int) -> list[float]:
    """Median milliseconds of each function; they take turns, after a warm-up."""
    times = [[] for _ in runs]
    for repeat in range(repeats + 1):
        for run, column in zip(runs, times, strict=True):
            start = time.perf_counter()
            run()
            if repeat:
                column.append((time.perf_counter() - start) * 1e3)
    return [statistics.median(column) for column in times]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--compiled', type=Path, required=True, help='mmcv wheel')
    parser.add_argument('--repeats', type=int, default=7)
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    parser.add_argument('--out', type=Path, help='write the table as JSON')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    print(f'{"op":36}{"compiled ms":>12}{"ours ms":>10}{"ratio":>8}')
    with tempfile.TemporaryDirectory() as folder:
        compiled = load_compiled(args.compiled, Path(folder))
        for name, build in CASES.items():
            theirs, ours = measure([build(compiled), build(mmcv_ext)], args.repeats)
            row = {'op': name, 'compiled_ms': theirs, 'ours_ms': ours}
            rows.append(row | {'ratio': ours / theirs})
            print(f'{name:36}{theirs:12.2f}{ours:10.2f}{ours / theirs:8.2f}')
    print(f'{args.threads} threads, torch {torch.__version__}')
    if args.out:
        result = {'threads': args.threads, 'rows': rows}
        args.out.write_text(json.dumps(result, indent=2) + '\n')


if __name__ == '__main__':
    main()
