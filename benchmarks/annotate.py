"""Annotate: its throughput beside the inferencer's bare loop, and what its bands hold.

- speed: images of OVShapes through ``inferencer.stream`` alone against a whole
  ``annotate`` of them into a new folder: five formats, contact sheets, reports. Both
  sides run in turn in one process, names encoded anew by each; the ratio is of
  throughputs, the median over rounds, and ``cpu_ratio`` that of seconds of computing.
- bands: OVShapes val with the embedded detector. Thresholds from the first images, of
  which the truth is given (``--labelled``), and what the accept band has on the others:
  precision and recall against their truth, and the boxes of the review band. Or another
  detector (``--weights``) on other images (``--ann``, ``--photos``).
- round: OVShapes images that the embedded detector has not seen, labelled by it; AP on
  val of a detector trained on the accepted boxes, and of one trained on the true ones.

    python -m benchmarks.annotate --parts speed --images 200 --rounds 5 --threads 2
    python -m benchmarks.annotate --parts bands
    python -m benchmarks.annotate --parts bands --weights epoch_12.pth \\
        --ann data/chess/valid.json --photos data/chess/images --labelled 15
    python -m benchmarks.annotate --parts round --images 500 --epochs 6
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PARTS = 'speed', 'bands', 'round'
ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / 'configs/ovshapes/ovd_fgclip2_labels.py'
FORMATS = 'coco', 'yolo', 'voc', 'odvg', 'labelme'
CLASSES = {
    'red circle': 'red circle', '红色圆形': 'red circle', 'blue square': 'blue square',
    '蓝色正方形': 'blue square', 'green star': 'green star', 'black ring': 'black ring',
    '黄色三角形': 'triangle', 'purple heart': 'heart',
}  # fmt: skip


def ovshapes(folder: Path, count: int, size: int) -> Path:
    """Folder of OVShapes with ``count`` images in val."""
    from fgclip2_det.datasets.ovshapes.generate import generate_ovshapes

    return generate_ovshapes(folder, num_train=1, num_val=count, image_size=size)


def speed(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Seconds of both sides, and the ratio of their throughputs."""
    from fgclip2_det import OpenVocabInferencer
    from fgclip2_det.apis import annotate
    from fgclip2_det.apis.annotating.options import FLOOR
    from fgclip2_det.vocabulary.ontology_file import as_ontology

    images = ovshapes(folder, args.images, args.size) / 'val'
    inferencer = OpenVocabInferencer(cache_size=0)
    ontology = as_ontology(CLASSES)

    def bare() -> tuple[float, float]:
        start, used = time.perf_counter(), time.process_time()
        inferencer.set_vocabulary(ontology.vocabulary())
        outcomes = inferencer.stream(
            str(images), None, FLOOR, batch_size=args.batch_size
        )
        assert sum(1 for _ in outcomes) == args.images
        return time.perf_counter() - start, time.process_time() - used

    def whole(number: int) -> tuple[float, float]:
        start, used = time.perf_counter(), time.process_time()
        done = annotate(
            images, ontology, folder / f'labels{number}', inferencer,
            formats=FORMATS, batch_size=args.batch_size,
        )  # fmt: skip
        assert done.num_images == args.images
        return time.perf_counter() - start, time.process_time() - used

    bare(), whole(0)  # the first of each loads what it needs
    pairs = []
    for number in range(1, args.rounds + 1):
        if number % 2:
            first, second = bare(), whole(number)
        else:
            second, first = whole(number), bare()
        pairs.append((first, second))
    ratios = [first[0] / second[0] for first, second in pairs]
    return dict(
        images=args.images, batch_size=args.batch_size,
        bare_per_s=args.images / statistics.median(first[0] for first, _ in pairs),
        annotate_per_s=args.images / statistics.median(own[0] for _, own in pairs),
        ratio=statistics.median(ratios), low=min(ratios), high=max(ratios),
        cpu_ratio=statistics.median(a[1] / b[1] for a, b in pairs),
    )  # fmt: skip


def bands(args: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Rows: the precision asked for, and what the bands have on the other images."""
    from fgclip2_det import OpenVocabInferencer
    from fgclip2_det.apis import annotate

    if args.ann is None:
        data = ovshapes(folder, 300, 256)
        ann_file, source = data / 'val.json', data / 'val'
    else:
        ann_file, source = args.ann, args.photos
    truth = json.loads(ann_file.read_text('utf-8'))
    photos = folder / 'photos'
    photos.mkdir()
    for each in truth['images']:  # a folder may hold those of other files as well
        (photos / each['file_name']).symlink_to((source / each['file_name']).resolve())
    part, rest = folder / 'part.json', folder / 'rest.json'
    first, others = (
        truth['images'][: args.labelled],
        truth['images'][args.labelled :],
    )
    for path, images in ((part, first), (rest, others)):
        ids = {each['id'] for each in images}
        own = [each for each in truth['annotations'] if each['image_id'] in ids]
        content = truth | {'images': images, 'annotations': own}
        path.write_text(json.dumps(content), 'utf-8')
    prompts = {
        each['name']: {
            'prompts': [each['name'], *([each['name_zh']] if 'name_zh' in each else [])]
        }
        for each in truth['categories']
    }
    inferencer = OpenVocabInferencer(args.weights, cache_size=0)
    rows = []
    for options in (
        {}, dict(labelled=part, precision=0.9), dict(labelled=part, precision=0.95),
        dict(labelled=part, precision=0.99),
    ):  # fmt: skip
        out = folder / 'bands'
        done = annotate(
            photos, {'classes': prompts}, out, inferencer, overwrite=True,
            batch_size=args.batch_size, **options,
        )  # fmt: skip
        found = on_the_rest(rest, done.rows, out, prompts)
        asked = options.get('precision')
        rows.append(dict(asked=asked, **found))
        print(json.dumps(rows[-1]))
    return rows


def on_the_rest(
    rest: Path, rows: list[dict], out: Path, prompts: dict[str, Any]
) -> dict[str, Any]:
    """Precision and recall of the accept band, boxes and hits of the review band."""
    import numpy as np

    from fgclip2_det.apis.annotating.bands import Band, wilson
    from fgclip2_det.apis.annotating.labelled import LabelledPart, answers_on
    from fgclip2_det.apis.annotating.lines import NAME, read_lines
    from fgclip2_det.vocabulary.ontology_file import as_ontology

    lines = {line.image: line for line in read_lines(out / NAME)}
    part = LabelledPart.read(rest, as_ontology({'classes': prompts}), lines)
    answers = answers_on(part, lines, len(rows))
    accepted, review = [], []
    for answer, row in zip(answers, rows, strict=True):
        assert answer is not None
        band = Band(**row['band'])
        accept = 2.0 if band.accept is None else band.accept
        scores, right = answer
        accepted.append(right[scores >= accept])
        review.append(right[(scores < accept) & (scores >= band.review)])
    own, other = np.concatenate(accepted), np.concatenate(review)
    count = len(json.loads(rest.read_text('utf-8'))['annotations'])
    low, high = wilson(int(own.sum()), len(own))
    return dict(
        precision=float(own.mean()), low=low, high=high, boxes=len(own),
        recall=float(own.sum()) / count, objects=count, review_boxes=len(other),
        review_right=int(other.sum()),
        thresholds=sorted({round(row['band']['accept'] or 9, 2) for row in rows}),
    )  # fmt: skip


def trained(args: argparse.Namespace, folder: Path) -> dict[str, dict[str, float]]:
    """Metrics of detectors trained on accepted and on true boxes."""
    from fgclip2_det.apis import annotate
    from fgclip2_det.datasets.ovshapes.classes import classes_of
    from fgclip2_det.datasets.ovshapes.generate import generate_ovshapes

    data = generate_ovshapes(
        folder / 'new', num_train=args.images, num_val=1, image_size=args.size, seed=1
    )
    truth = json.loads((data / 'train.json').read_text('utf-8'))
    classes = {
        each['name']: {'prompts': [each['name'], each['name_zh']]}
        for each in truth['categories']
    }
    labels = folder / 'round'
    done = annotate(data / 'train', {'classes': classes}, labels)
    print(*done.lines(), sep='\n')
    novel = [each.name for each in classes_of('novel')]
    found = {}
    for name, ann_file in (
        ('accepted', labels / 'coco.json'), ('true', data / 'train.json'),
    ):  # fmt: skip
        work_dir = folder / name
        options = [
            f'train_dataloader.dataset.ann_file={ann_file}',
            f'train_dataloader.dataset.data_prefix.img={data / "train"}',
            f'train_dataloader.dataset.novel_classes={novel}',
            f'data_root={folder / "val"}', 'num_train=1', f'num_val={args.val}',
            f'train_cfg.max_epochs={args.epochs}',
        ]  # fmt: skip
        words = [str(CONFIG), '--work-dir', str(work_dir), '--cfg-options', *options]
        subprocess.run(
            [sys.executable, str(ROOT / 'tools/train.py'), *words], check=True
        )
        found[name] = json.loads((work_dir / 'metrics.json').read_text())
    boxes = sum(row['accept'] for row in done.rows)
    return found | {'boxes': {'accepted': boxes, 'true': len(truth['annotations'])}}


def main(args: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(args.threads)
    content = {}
    with tempfile.TemporaryDirectory() as name:
        if 'speed' in args.parts:
            content['speed'] = speed(args, Path(name))
        if 'bands' in args.parts:
            content['bands'] = bands(args, Path(name))
        if 'round' in args.parts:
            content['round'] = trained(args, Path(name))
    print(json.dumps(content, indent=1, ensure_ascii=False))
    if args.out:
        args.out.write_text(json.dumps(content, indent=1) + '\n')


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=PARTS)
    parser.add_argument('--images', type=int, default=200)
    parser.add_argument('--size', type=int, default=256)
    parser.add_argument('--weights', help='detector of bands; the embedded one')
    parser.add_argument('--ann', type=Path, help='COCO file of bands; OVShapes val')
    parser.add_argument('--photos', type=Path, help='images of --ann')
    parser.add_argument('--labelled', type=int, default=50, help='images of bands')
    parser.add_argument('--epochs', type=int, default=6, help='of round')
    parser.add_argument('--val', type=int, default=300, help='images that round tests')
    parser.add_argument('--batch-size', type=int, default=1)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--out', type=Path)
    return parser


if __name__ == '__main__':
    main(parser().parse_args())
