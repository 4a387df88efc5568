"""What score 0.3 means at 1 to 1,203 names: precision, recall, drift.

Every image is asked for k of its names, half of them absent; asks that are larger than
the annotated names are filled up with names of LVIS, of which an image has none that
counts. Two systems:

- `detector`: the embedded detector, or --checkpoint, on OVShapes
- `rescored`: the boxes of a COCO result list, re-scored for the names asked for, with
  the competitors that `FGCLIP2Rescorer` gives to a detector of unknown training. In an
  ask a detector gives its boxes of the names asked for.

Precision and recall are at score 0.3 (--score-thr) and IoU 0.5 over all asks of one k;
drift is by how much the score of an object's box differs from that at one name.

Example:
    python -m benchmarks.one_threshold --predictions results.bbox.json \\
        --coco instances_val2017.json --coco-images val2017 \\
        --encoder qihoo360/fg-clip2-base --out one_threshold.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from fgclip2_det import FGCLIP2, OpenVocabInferencer, Vocabulary
from fgclip2_det.coco.ground_truths import Truths, read_truths
from fgclip2_det.coco.predictions import read_predictions
from fgclip2_det.evaluation.few_names import Ask, draw_asks, score_asks
from fgclip2_det.evaluation.image_boxes import ImageBoxes
from fgclip2_det.models.competing_texts import CompetingTexts
from fgclip2_det.models.detectors.wrapped_detector import BROAD_NAMES
from fgclip2_det.models.fusion import OpenVocabGeometricFusion
from fgclip2_det.models.prediction_rescorer import PredictionRescorer, clip_boxes
from fgclip2_det.models.score_calibration import ScoreCalibration
from fgclip2_det.vocabulary import load_list, normalize_name
from fgclip2_det.vocabulary.competitors import split_words
from fgclip2_det.vocabulary.synonyms import other_names

KS = (1, 5, 10, 80, 1203)
Detect = Callable[[Ask], ImageBoxes]


def with_fillers(truths: Truths, total: int) -> Truths:
    """The ground truth with further categories that no image has.

    Names that share a word with one of the categories are left out, and what the
    built-in lists also call it.
    """
    own = {normalize_name(c['name']) for c in truths.categories}
    taken = own | {word for name in own for word in other_names(name)}
    words = {word for name in own for word in split_words(name)}
    names = [
        name for name in map(normalize_name, load_list('lvis').names)
        if name not in taken and not other_names(name) & own
        and not words & set(split_words(name))
    ][: total - len(own)]  # fmt: skip
    start = max(c['id'] for c in truths.categories) + 1
    fillers = [{'id': start + n, 'name': name} for n, name in enumerate(names)]
    categories = [*truths.categories, *fillers]
    place = np.arange(len(truths.categories))
    return truths.with_classes(place, categories)


def measure(
    truths: Truths, detect: Detect, seed: int, ks: Sequence[int], score_thr: float
) -> dict[int, dict[str, float]]:
    """k -> figures; k is smaller where LVIS has not enough names."""
    rows = {}
    for wanted in ks:
        own = truths
        if wanted > len(truths.categories):
            own = with_fillers(truths, wanted)
        k = min(wanted, len(own.categories))
        asks = draw_asks(own, (k,), seed)
        boxes = [detect(a) for a in tqdm(asks, desc=f'k={k}', disable=None)]
        figures = score_asks(own, asks, boxes, score_thr)
        names = ('precision', 'recall', 'false_per_100', 'AP50')
        rows[k] = {name: figures[f'k{k}/all/{name}'] for name in names}
    return rows


def drift(
    truths: Truths, detect: Detect, asked: Sequence[int], count: int
) -> dict[int, float]:
    """k -> largest change of the score of one name's boxes against that name alone.

    For the first name of the first ``count`` images that have one; further names are
    those of the file, then LVIS's.
    """
    filled = with_fillers(truths, max(asked))
    largest = dict.fromkeys(asked, 0.0)
    images = np.unique(truths.image[~truths.crowd], return_index=True)
    pairs = list(zip(images[0], truths.category[~truths.crowd][images[1]], strict=True))
    for image, category in tqdm(pairs[:count], desc='drift', disable=None):
        alone = None
        others = [c for c in filled.categories if c is not filled.categories[category]]
        for k in (1, *asked):
            chosen = [filled.categories[category], *others[: k - 1]]
            image_id = truths.images[image]['id']
            found = detect(
                Ask(1, image_id, truths.file_names[image_id],
                    tuple(normalize_name(c['name']) for c in chosen),
                    tuple(c['id'] for c in chosen), k)
            )  # fmt: skip
            mine = found.scores[found.labels == 0]
            best = float(mine.max()) if len(mine) else 0.0
            if alone is None:
                alone = best
            else:
                largest[k] = max(largest[k], abs(best - alone))
    return largest


def detector(args: argparse.Namespace) -> tuple[Truths, Detect]:
    truths = read_truths(args.ann)
    inferencer = OpenVocabInferencer(args.checkpoint)
    inferencer.set_vocabulary(['red star'])

    def detect(ask: Ask) -> ImageBoxes:
        path = Path(args.images) / truths.file_names[ask.image_id]
        (found,) = inferencer(str(path), Vocabulary(list(ask.names), check=False))
        boxes = found.bboxes.double().numpy()
        boxes[:, 2:] -= boxes[:, :2]
        return ImageBoxes(boxes, found.labels.numpy(), found.scores.double().numpy())

    return truths, detect


def rescored(args: argparse.Namespace) -> tuple[Truths, Detect]:
    truths = read_truths(args.coco)
    encoder = FGCLIP2.from_pretrained(args.encoder)
    rows = read_predictions(args.predictions, args.coco).rows
    fusion = OpenVocabGeometricFusion(alpha=args.alpha, temperature=args.temperature)
    competing, regions, texts, kept = CompetingTexts(BROAD_NAMES), {}, {}, {}

    def embed(vocabulary: Vocabulary) -> torch.Tensor:
        missing = [n for n in vocabulary.names if n not in texts]
        if missing:
            new = Vocabulary(missing, check=False).embed(encoder)
            texts.update(zip(missing, new, strict=True))
        return torch.stack([texts[name] for name in vocabulary.names])

    def rescorer(names: tuple[str, ...]) -> PredictionRescorer:
        if names not in kept:
            vocabulary = Vocabulary(list(names), check=False)
            embeds = embed(vocabulary)
            competitors = competing(vocabulary, embeds, (), embed, None)
            kept[names] = PredictionRescorer(
                None,
                embeds,
                fusion,
                competitors=competitors,
                calibration=ScoreCalibration(args.shift, args.shift),
            )
        return kept[names]

    def encoded(image_id) -> tuple:
        """Boxes in pixels and their embeddings, once an image."""
        if image_id not in regions:
            boxes = torch.tensor([row['bbox'] for row in rows.get(image_id, [])])
            boxes = boxes.reshape(-1, 4).double()
            corners = torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1).float()
            path = Path(args.coco_images) / truths.file_names[image_id]
            batch = encoder.preprocess([path], 'auto')
            clipped = clip_boxes(corners, batch.image_sizes[0])
            embeds = encoder.region_features(batch, [clipped], True)[0].float()
            regions[image_id] = boxes, corners, embeds
        return regions[image_id]

    @torch.no_grad()
    def detect(ask: Ask) -> ImageBoxes:
        boxes, corners, embeds = encoded(ask.image_id)
        label = {category: n for n, category in enumerate(ask.category_ids)}
        own = rows.get(ask.image_id, [])
        chosen = [n for n, row in enumerate(own) if row['category_id'] in label]
        labels = torch.tensor([label[own[n]['category_id']] for n in chosen]).long()
        scores = torch.tensor([float(own[n]['score']) for n in chosen])
        system = rescorer(ask.names)
        assert system.competitors is not None
        result = system.fuse(
            embeds[chosen] @ system.class_embeds.T, corners[chosen],
            torch.arange(len(chosen)), scores, labels,
            others=embeds[chosen] @ system.competitors.embeds.T,
        )  # fmt: skip
        return ImageBoxes(
            boxes[chosen].numpy(), labels.numpy(), result.scores.double().numpy()
        )

    return truths, detect


def show(name: str, rows: dict, drifts: dict[int, float]) -> None:
    print(f'\n{name}\n{"names":>6}{"precision":>11}{"recall":>8}{"false/100":>11}'
          f'{"AP50":>7}{"drift":>7}')  # fmt: skip
    for k, row in rows.items():
        moved = f'{drifts[k]:.3f}' if k in drifts else '-'
        shown = f'{row["precision"]:>11.3f}{row["recall"]:>8.3f}'
        shown += f'{row["false_per_100"]:>11.2f}{row["AP50"]:>7.3f}'
        print(f'{k:>6}{shown}{moved:>7}')


def plot(results: dict[str, dict], path: Path) -> None:
    """Precision and recall over the number of names, a panel a system."""
    from matplotlib.figure import Figure

    figure = Figure((4.5 * len(results), 3.2), layout='constrained')
    panels = figure.subplots(1, len(results), squeeze=False)[0]
    titles = {
        'detector': 'embedded detector, OVShapes',
        'rescored': 're-scored boxes, photographs',
    }
    for panel, (name, result) in zip(panels, results.items(), strict=True):
        ks = list(result['figures'])
        for key, color in (('precision', '#1f77b4'), ('recall', '#ff7f0e')):
            values = [result['figures'][k][key] for k in ks]
            panel.plot(ks, values, 'o-', label=key, color=color)
        panel.set(xscale='log', ylim=(0, 1), xlabel='names', title=titles[name])
        panel.set_xticks(ks, [f'{k:,}' for k in ks])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    panels[0].set_ylabel('at the threshold')
    panels[0].legend(loc='lower left')
    figure.savefig(path, dpi=110)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    data = 'data/ovshapes/v1_2000train_300val_256px_seed0'
    add('--checkpoint', help='default: the embedded detector')
    add('--ann', default=f'{data}/val.json')
    add('--images', default=f'{data}/val')
    add('--predictions', help='COCO result list of another detector, to re-score')
    add('--coco', help='COCO annotation file of its images')
    add('--coco-images', help='their folder')
    add('--encoder', default='fgclip2_tiny')
    add('--alpha', type=float, default=0.5)
    add('--temperature', type=float, default=0.01)
    add('--shift', type=float, default=0.0, help='calibration of re-scored boxes')
    add('--seed', type=int, default=0, help='of the draw')
    add('--ks', type=int, nargs='+', default=KS, metavar='K', help='numbers of names')
    add('--score-thr', type=float, default=0.3, help='default: 0.3')
    add('--drift-images', type=int, default=50)
    add('--out', type=Path)
    add('--plot', type=Path, help='image of the curves')
    return parser


def main(args: argparse.Namespace) -> None:
    systems = {'detector': detector}
    if args.predictions:
        systems['rescored'] = rescored
    results = {}
    for name, build in systems.items():
        truths, detect = build(args)
        rows = measure(truths, detect, args.seed, args.ks, args.score_thr)
        drifts = drift(truths, detect, list(rows)[1:], args.drift_images)
        show(name, rows, drifts)
        results[name] = {'figures': rows, 'drift': drifts}
    if args.out:
        args.out.write_text(json.dumps(results, indent=1) + '\n')
    if args.plot:
        plot(results, args.plot)


if __name__ == '__main__':
    main(parser().parse_args())
