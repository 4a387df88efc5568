"""PyTorch, onnxruntime and onnxruntime in int8, turn by turn in one process.

- `encoder`: image embedding and dense map, base size, random weights, 640 x 480
- `detector`: OV-COCO's detector at base size, random weights, 640 x 640, 1,203 names,
  from pixels to boxes
- `agreement`: the embedded detector on 50 pictures of OVShapes' val: boxes and scores
  against `OpenVocabInferencer`, and AP of every kind

Ratios are medians of per-round ratios. Exports are kept in --folder for the next run.

    python -m benchmarks.onnx --rounds 7 --threads 1 --out onnx.json
    python -m benchmarks.onnx --parts agreement
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F

import fgclip2_det.registration  # registers the detectors
from fgclip2_det import FGCLIP2, OpenVocabInferencer
from fgclip2_det.coco.result_writer import result_rows
from fgclip2_det.datasets.ovshapes.generate import generate_ovshapes
from fgclip2_det.evaluation import evaluate_file
from fgclip2_det.onnx import folder as files
from fgclip2_det.onnx.class_nms import class_nms
from fgclip2_det.onnx.comparing import agreement
from fgclip2_det.onnx.detector import Detector, Found
from fgclip2_det.onnx.detector_export import (
    detector_graph,
    detector_section,
    export_detector,
)
from fgclip2_det.onnx.exporting import describe, encoder_graphs
from fgclip2_det.onnx.quantizing import METHODS, quantize_folder
from fgclip2_det.onnx.sessions import Session
from fgclip2_det.onnx.tracing import write_graph

PARTS = ('encoder', 'detector', 'agreement')
AGREED = ('boxes', 'unmatched', 'sure', 'sure_unmatched', 'score', 'pixels', 'moves')
NUM_NAMES = 1203
FLAGS = ('avx2', 'avx512f', 'avx512_vnni', 'avx_vnni', 'avx512_bf16', 'amx_int8')


def cpu() -> str:
    """Name and units of the CPU, as ``lscpu`` has them."""
    info = Path('/proc/cpuinfo')
    if not info.is_file():
        return 'unknown CPU'
    lines = info.read_text(encoding='utf-8').splitlines()
    rows = dict(line.split(':', 1) for line in lines if ':' in line)
    rows = {key.strip(): value.strip() for key, value in rows.items()}
    units = [flag for flag in FLAGS if flag in rows.get('flags', '').split()]
    return f'{rows.get("model name", "unknown CPU")}: {" ".join(units)}'


def in_turn(runs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every run, round by round; the first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - start)
        print(f'round {number}/{rounds}', file=sys.stderr)
    return seconds


def report(seconds: dict[str, list[float]], pairs: Sequence[tuple[str, str]]) -> dict:
    """Print and return medians, and how many times as fast the second of a pair is."""
    result: dict[str, Any] = {k: statistics.median(v) for k, v in seconds.items()}
    for name, value in result.items():
        print(f'  {name:<34} {value:8.3f} s')
    for slow, fast in pairs:
        ratios = [a / b for a, b in zip(seconds[slow], seconds[fast], strict=True)]
        middle, low, high = statistics.median(ratios), min(ratios), max(ratios)
        result[f'{fast} against {slow}'] = [middle, low, high]
        words = f'{fast}: times as fast as {slow}'
        print(f'  {words:<62} {middle:6.2f}  ({low:.2f} to {high:.2f})')
    return result


def base_detector() -> Any:
    """OV-COCO's detector at base size with random weights."""
    from mmdet.registry import MODELS
    from mmengine.config import Config

    root = Path(__file__).resolve().parents[1]
    cfg = Config.fromfile(root / 'configs/_base_/models/fgclip2-det_b16_sfpn.py').model
    cfg.backbone.encoder = dict(size='base', seed=0)
    torch.manual_seed(0)
    return MODELS.build(cfg).eval()


def random_names(model: Any) -> dict[str, torch.Tensor]:
    """Inputs of 1,203 names, which the detector gets, too."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(NUM_NAMES + 1, 768, generator=generator)
    embeds = F.normalize(rows, dim=-1)
    is_base = torch.arange(NUM_NAMES) < NUM_NAMES * 3 // 4
    released = argparse.Namespace(logit_parameters=lambda: torch.zeros(2, 1).unbind())
    model.classifier.set_embeds(embeds, is_base, released)
    model.vocabulary = list(range(NUM_NAMES))
    model.check_vocabulary = lambda *_: None  # no texts behind these embeddings
    return dict(
        names=embeds[:-1],
        is_base=is_base,
        competitors=embeds[:0],
        apart=torch.zeros(NUM_NAMES, NUM_NAMES, dtype=torch.bool),
        shift=torch.zeros(NUM_NAMES),
    )


def write_folder(folder: Path, graphs: dict[str, Any], opset: int, **more: Any) -> Path:
    """A folder with graphs of random weights, in float and quantised beside it."""
    if not folder.is_dir():
        partial = folder.with_suffix('.partial')
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, graph in graphs.items():
            write_graph(graph, partial / name, opset)
        vision = argparse.Namespace(patch_size=16)
        encoder = argparse.Namespace(
            embed_dims=768, config=argparse.Namespace(vision=vision)
        )
        content = describe(cast(Any, encoder), 'random', opset, 1024)
        files.write_description(partial, content | more)
        partial.rename(folder)
    return folder


def quantized(folder: Path, method: str, images: Sequence[Any] = ()) -> Path:
    """A copy of a folder in int8."""
    target = folder.with_name(f'{folder.name}-{method}')
    if not target.is_dir():
        partial = folder.with_name(f'{folder.name}-{method}.partial')
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(folder, partial)
        print(quantize_folder(partial, method, images))
        partial.rename(target)
    return target


def time_encoder(args: argparse.Namespace) -> dict:
    generator = torch.Generator().manual_seed(0)
    encoder = FGCLIP2.from_size('base', towers='vision', generator=generator)
    graphs = {files.VISION: encoder_graphs(encoder)[files.VISION]}
    folder = write_folder(args.folder / f'encoder-{args.opset}', graphs, args.opset)
    image = torch.randint(0, 256, (480, 640, 3), generator=generator).byte().numpy()
    batch = encoder.preprocess(image)
    rows, columns = batch.grid_sizes[0].tolist()
    pixels = torch.randn(1, 3, rows * 16, columns * 16, generator=generator).numpy()

    def exact() -> Any:
        tokens, mask = encoder.encode_tokens(batch)
        dense = encoder.dense_feature_head.dense(tokens, mask)
        return encoder.vision_model.head.pool(tokens, mask), dense

    runs: dict[str, Callable[[], Any]] = {'PyTorch fp32': exact}
    kinds = {'onnxruntime fp32': folder}
    for method in args.methods:
        noise = [np.flip(image, axis) for axis in (0, 1)]
        kinds[f'onnxruntime int8 {method}'] = quantized(folder, method, noise)
    for name, path in kinds.items():
        session = Session(path / files.VISION, args.threads)
        runs[name] = lambda session=session: session(dict(images=pixels))
    print(f'encoder, base size, 640 x 480, {rows * columns} tokens:')
    return report(in_turn(runs, args.rounds), pairs_of(runs))


def time_detector(args: argparse.Namespace) -> dict:
    from mmdet.structures import DetDataSample

    model = base_detector()
    names = random_names(model)
    cfg = model.roi_head.test_cfg
    graph = detector_graph(model, 1024, nms=False)
    folder = write_folder(
        args.folder / f'detector-{args.opset}',
        {files.DETECTOR: graph},
        args.opset,
        detector=detector_section(model, 1600, nms=False),
    )
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, 640, 640), generator=generator).byte()
    pixels = ((image.float() - 127.5) / 127.5)[None].numpy()
    feeds = {name: value.numpy() for name, value in names.items()} | {'images': pixels}
    sides = (640, 640)
    meta = dict(img_shape=sides, ori_shape=sides, scale_factor=(1.0, 1.0), img_path='')

    def exact() -> Any:
        sample = DetDataSample(metainfo=dict(meta))
        return model.test_step(dict(inputs=[image], data_samples=[sample]))

    def run(session: Session) -> Any:
        boxes, scores = session(feeds)
        options = cfg.score_thr, cfg.nms.iou_threshold, cfg.max_per_img
        return class_nms(boxes[0], scores[0], *options)

    runs: dict[str, Callable[[], Any]] = {'PyTorch fp32': exact}
    kinds = {'onnxruntime fp32': folder}
    if 'dynamic' in args.methods:  # static ranges need names, which are random here
        kinds['onnxruntime int8 dynamic'] = quantized(folder, 'dynamic')
    for name, path in kinds.items():
        session = Session(path / files.DETECTOR, args.threads)
        runs[name] = lambda session=session: run(session)
    print(f'detector, base size, 640 x 640, {NUM_NAMES} names:')
    return report(in_turn(runs, args.rounds), pairs_of(runs))


def pairs_of(runs: dict[str, Any]) -> list[tuple[str, str]]:
    """PyTorch against float, and float against each kind of int8."""
    exact, own, *others = runs
    return [(exact, own), *((own, other) for other in others)]


def agree(args: argparse.Namespace) -> dict:
    shapes = generate_ovshapes(args.folder, num_train=16, num_val=args.pictures)
    images = sorted((shapes / 'val').iterdir())
    inferencer = OpenVocabInferencer(device='cpu')
    folder = args.folder / f'embedded-{args.opset}'
    if not folder.is_dir():
        export_detector(inferencer.system, folder, args.opset)
    seen = sorted((shapes / 'train').iterdir())
    kinds = {'fp32': folder}
    kinds |= {f'int8 {m}': quantized(folder, m, seen) for m in args.methods}
    content = json.loads((shapes / 'val.json').read_text(encoding='utf-8'))
    names = [category['name'] for category in content['categories']]
    inferencer.set_vocabulary(names)

    def exact(image: Any) -> Found:
        (found,) = inferencer(image)
        boxes, scores, labels = found.bboxes, found.scores, found.labels
        return Found(boxes.numpy(), scores.numpy(), labels.numpy(), found.classes)

    result: dict[str, Any] = {'PyTorch AP': average_precision(exact, shapes, args)}
    print(f'{len(images)} pictures of OVShapes val, {len(names)} names')
    print(f'  PyTorch: {words_of(result["PyTorch AP"])}')
    for kind, path in kinds.items():
        detector = Detector(path, args.threads)
        detector.set_vocabulary(names)

        def run(image: Any, own: Detector = detector) -> Found:
            return own(image)[0]

        found = agreement(exact, run, images)
        figures = average_precision(run, shapes, args)
        agreed = {name: getattr(found, name) for name in AGREED}
        result[kind] = dict(agreement=agreed, ap=figures)
        print(f'  {kind}: {words_of(figures)}; {found}')
    return result


def average_precision(
    detect: Callable[[Any], Found], shapes: Path, args: argparse.Namespace
) -> dict[str, float]:
    """AP and AP50 of base and novel classes on OVShapes' val."""
    content = json.loads((shapes / 'val.json').read_text(encoding='utf-8'))
    ids = [category['id'] for category in content['categories']]
    rows = []
    for image in content['images']:
        found = detect(shapes / 'val' / Path(image['file_name']).name)
        boxes = found.bboxes.astype(float)
        boxes[:, 2:] -= boxes[:, :2]
        rows += result_rows(image['id'], boxes, found.labels, found.scores, ids)
    path = args.folder / 'results.bbox.json'
    path.write_text(json.dumps(rows), encoding='utf-8')
    metrics = evaluate_file('ov-coco', shapes / 'val.json', path).metrics
    return {key: metrics[f'ov-coco/bbox/{key}'] for key in ('base_ap50', 'novel_ap50')}


def words_of(figures: dict[str, float]) -> str:
    return ', '.join(f'{key} {value:.4f}' for key, value in figures.items())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--parts', nargs='+', choices=PARTS, default=list(PARTS))
    add('--rounds', type=int, default=7)
    add('--threads', type=int, default=1)
    add('--opset', type=int, default=20)
    add('--methods', nargs='*', choices=METHODS, default=list(METHODS))
    add('--pictures', type=int, default=50, help='of agreement')
    add('--folder', type=Path, default=Path('work_dirs/onnx_benchmark'))
    add('--out', type=Path, help='JSON file for the figures')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    from mmengine.registry import init_default_scope

    init_default_scope('mmdet')
    args.folder.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = dict(cpu=cpu(), threads=args.threads, opset=args.opset)
    print(f'{result["cpu"]}; {args.threads} threads, torch {torch.__version__}')
    work = dict(encoder=time_encoder, detector=time_detector, agreement=agree)
    with torch.inference_mode():
        for part in args.parts:
            result[part] = work[part](args)
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
