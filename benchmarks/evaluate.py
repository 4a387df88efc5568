"""LVIS evaluation: time and memory of this project and of lvis-api on the same files.

Synthetic ground truth and detections in LVIS's proportions. Both read the same result
list, in turn, round after round, each time in a process of its own; ratios are medians
of per-round ratios, and the numbers must agree. Fixed AP is measured of this project
alone, from a list with several times as many detections.

    python -m benchmarks.evaluate --images 1000 --rounds 3 --out evaluate.json
    python -m benchmarks.evaluate --images 19809 --rounds 1 --alone --earlier FOLDER

``--earlier`` measures the code of another checkout on the same files, in turn. lvis-api
keeps Python objects for each detection, which for LVIS val is more than a
small machine has; hence ``--alone``.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

import numpy as np

SIZE = 640
OBJECTS = 12.4  # an image: 244,707 of 19,809 in LVIS v1 val
NEGATIVES = 7
ROOT = Path(__file__).resolve().parents[1]


def make_truth(path: Path, images: int, classes: int, seed: int) -> dict:
    """Write an LVIS file: few classes are frequent; returns its content."""
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, classes + 1)
    weights /= weights.sum()
    entries, annotations = [], []
    for image in range(1, images + 1):
        labels = rng.choice(classes, rng.poisson(OBJECTS), p=weights) + 1
        sides = np.exp(rng.uniform(np.log(12), np.log(300), (len(labels), 2)))
        boxes = np.hstack([rng.uniform(0, SIZE - sides), sides]).round(2)
        for label, box in zip(labels.tolist(), boxes.tolist(), strict=True):
            annotations.append({
                'id': len(annotations) + 1, 'image_id': image, 'category_id': label,
                'bbox': box, 'area': box[2] * box[3], 'segmentation': [],
            })  # fmt: skip
        absent = np.setdiff1d(rng.integers(1, classes + 1, NEGATIVES), labels)
        entries.append({
            'id': image, 'file_name': f'{image:012d}.jpg', 'width': SIZE,
            'height': SIZE, 'neg_category_ids': absent.tolist(),
            'not_exhaustive_category_ids': sorted({*labels[:1].tolist()}),
        })  # fmt: skip
    thirds = np.array_split(np.arange(1, classes + 1), 3)
    categories = [
        {'id': i, 'name': f'class {i}', 'frequency': frequency}
        for frequency, third in zip('fcr', thirds, strict=True)
        for i in third.tolist()
    ]
    content = dict(images=entries, annotations=annotations, categories=categories)
    path.write_text(json.dumps(content))
    return content


def write_results(path: Path, truth: dict, dets: int, classes: int, seed: int) -> int:
    """Stream a result list to a file: true boxes shaken, half of the labels of the
    image; returns the number of rows."""
    rng, by_image = np.random.default_rng(seed + 1), {}
    for a in truth['annotations']:
        by_image.setdefault(a['image_id'], []).append((*a['bbox'], a['category_id']))
    rows = 0
    with path.open('w') as file:
        for image in truth['images']:
            own = np.array(by_image.get(image['id'], [(50, 50, 50, 50, 1)]))
            chosen = own[rng.integers(0, len(own), dets)]
            boxes = chosen[:, :4] + rng.normal(0, 0.1, (dets, 4)) * chosen[:, 2:3]
            boxes[:, 2:] = boxes[:, 2:].clip(1)
            other = rng.integers(1, classes + 1, dets)
            labels = np.where(rng.random(dets) < 0.5, chosen[:, 4], other).astype(int)
            scores = rng.random(dets) ** 3
            values = zip(labels.tolist(), boxes.round(2).tolist(),
                         scores.round(6).tolist(), strict=True)  # fmt: skip
            for label, box, score in values:
                file.write('[' if rows == 0 else ',\n')
                file.write(f'{{"image_id": {image["id"]}, "category_id": {label}, '
                           f'"bbox": {box}, "score": {score}}}')  # fmt: skip
                rows += 1
        file.write(']' if rows else '[]')
    return rows


def run_ours(ann: str, results: str, protocol: str) -> dict[str, float]:
    from fgclip2_det.coco.ground_truths import read_truths
    from fgclip2_det.coco.result_lists import read_results
    from fgclip2_det.evaluation.protocols import evaluate_results, keep_for

    start = time.perf_counter()
    truths = read_truths(ann, federated=True)
    keep = keep_for(protocol)  # boxes outside their image count, as in lvis-api
    kept = read_results(results, truths, keep=keep, drop_outside=False).results
    read = time.perf_counter() - start
    metrics = evaluate_results(protocol, truths, kept).metrics
    seconds = time.perf_counter() - start
    ap = metrics[f'{protocol}/bbox/AP']
    return dict(seconds=seconds, reading=read, AP=ap, rows=len(kept))


def run_lvis_api(ann: str, results: str) -> dict[str, float]:
    from lvis import LVIS, LVISEval, LVISResults

    from fgclip2_det.compat import lvis_numpy

    lvis_numpy.install()
    logging.disable(logging.WARNING)
    start = time.perf_counter()
    truth = LVIS(ann)
    detections = LVISResults(truth, results)
    read = time.perf_counter() - start
    evaluator = LVISEval(truth, detections, 'bbox')
    evaluator.run()
    seconds = time.perf_counter() - start
    ap = float(evaluator.get_results()['AP'])
    return dict(seconds=seconds, reading=read, AP=ap)


def measured(*words: object, code: Path = ROOT) -> dict[str, float]:
    """One run of the code of a checkout, in a process of its own, with its peak
    resident memory (Linux)."""
    command = [sys.executable, '-m', 'benchmarks.evaluate', '--run', *map(str, words)]
    environment = {**os.environ, 'PYTHONPATH': str(code)}
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=code, env=environment
    )
    return json.loads(done.stdout.splitlines()[-1])


def child(name: str, ann: str, results: str, protocol: str) -> None:
    import_module('fgclip2_det')
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if name == 'ours':
        figures = run_ours(ann, results, protocol)
    else:
        figures = run_lvis_api(ann, results)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps(figures | {'peak_gb': peak * 1024 / 1e9,
                                'imports_gb': before * 1024 / 1e9}))  # fmt: skip


def compare(args: argparse.Namespace, folder: Path) -> dict:
    ann, results = folder / 'ann.json', folder / 'results.json'
    truth = make_truth(ann, args.images, args.classes, args.seed)
    rows = write_results(results, truth, args.dets, args.classes, args.seed)
    names = ['ours', *([] if args.alone else ['lvis-api'])]
    names += ['earlier'] if args.earlier else []
    runs: dict[str, list[dict]] = {name: [] for name in names}
    for number in range(args.rounds):
        for name in runs:
            earlier = name == 'earlier'
            own, code = ('ours', args.earlier) if earlier else (name, ROOT)
            runs[name].append(measured(own, ann, results, 'lvis', code=code))
        print(f'round {number + 1}/{args.rounds}', file=sys.stderr)
    result = dict(
        images=args.images,
        objects=len(truth['annotations']),
        classes=args.classes,
        rows=rows,
        runs=runs,
    )
    if not args.alone:
        result |= against(runs['ours'], runs['lvis-api'])
    if args.earlier:
        result['earlier'] = against(runs['ours'], runs['earlier'])
    results.unlink()
    if not args.fixed_dets:
        return result
    many = write_results(results, truth, args.fixed_dets, args.classes, args.seed)
    result['fixed'] = measured('ours', ann, results, 'lvis-fixed') | {'read': many}
    return result


def against(ours: list[dict], theirs: list[dict]) -> dict:
    """How many times as long the others take, and by how much AP differs."""
    pairs = list(zip(ours, theirs, strict=True))
    ratios = [other['seconds'] / own['seconds'] for own, other in pairs]
    return dict(
        ratio=statistics.median(ratios),
        spread=[min(ratios), max(ratios)],
        difference=max(abs(own['AP'] - other['AP']) for own, other in pairs),
    )


def show(result: dict) -> None:
    print('{images} images, {objects} objects, {classes} classes, {rows} detections; '
          'reading the files included'.format(**result))  # fmt: skip
    for name, runs in result['runs'].items():
        print(f'  {name:<10} {_middle(runs, "seconds"):8.1f} s '
              f'({_middle(runs, "reading"):.1f} s reading), '
              f'peak {_middle(runs, "peak_gb"):.2f} GB '
              f'({_middle(runs, "imports_gb"):.2f} GB imports), '
              f'AP {_middle(runs, "AP"):.9f}')  # fmt: skip
    for name, ratios in (('lvis-api', result), ('earlier', result.get('earlier', {}))):
        if 'ratio' in ratios:
            low, high = ratios['spread']
            print(f'  {name} / ours {ratios["ratio"]:.1f} ({low:.1f} to {high:.1f}), '
                  f'difference of AP {ratios["difference"]:.1e}')  # fmt: skip
    if 'fixed' not in result:
        return
    print('  fixed AP, {read} detections of which {rows} are kept: {seconds:.1f} s, '
          'peak {peak_gb:.2f} GB, AP {AP:.6f}'.format(**result['fixed']))  # fmt: skip


def _middle(runs: list[dict], key: str) -> float:
    return statistics.median(run[key] for run in runs)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--images', type=int, default=1000, help='19809: LVIS v1 val')
    add('--classes', type=int, default=1203)
    add('--dets', type=int, default=300, help='detections of an image')
    add('--fixed-dets', type=int, default=1200, help='of fixed AP; 0: not measured')
    add('--rounds', type=int, default=3)
    add('--alone', action='store_true', help='our figures, without lvis-api')
    add('--earlier', type=Path, metavar='FOLDER', help='another checkout')
    add('--seed', type=int, default=0)
    add('--out', type=Path, help='JSON file for the figures')
    add('--run', nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        child(*args.run)
        return
    if args.earlier:
        args.earlier = args.earlier.resolve()
    with tempfile.TemporaryDirectory() as folder:
        result = compare(args, Path(folder))
    show(result)
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + '\n')


if __name__ == '__main__':
    main()
