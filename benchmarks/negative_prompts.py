"""What negative prompts do to boxes of absent names, on OVShapes.

Every image is asked for two names, half of them present, half absent and, as the draw
is `hard`, of the colour or shape of something present. Each name is then asked again
with negatives: the eight that attribute prompts get from word lists, or some, or all,
of the data set's other names that share its colour or its shape. All of it without and
with the detector's silent competitors.

False boxes are counted at 0.3, and at the score where 90 % of the objects are found,
which makes ways comparable.

Example:
    python -m benchmarks.negative_prompts --data data/ovshapes/*_seed0
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from fgclip2_det import OpenVocabInferencer
from fgclip2_det.coco.ground_truths import Truths, read_truths
from fgclip2_det.evaluation.few_names import Ask, draw_asks, score_asks
from fgclip2_det.evaluation.image_boxes import ImageBoxes
from fgclip2_det.vocabulary.negatives import find_negatives

Negatives = Callable[[Sequence[str]], 'dict[str, list[str]] | None']
RECALL = 0.9
GROUPS = ('base', 'novel')
COLUMNS = ('precision', 'recall', 'false_per_100', 'auroc')
AT_RECALL = ('precision', 'false_per_100')


def similar(names: Sequence[str], count: int | None) -> Negatives:
    """Each name's negatives: evenly chosen names that share a word with it.

    Args:
        names: of two words, of the data set.
        count: of each name; None for all.
    """

    def negatives(asked: Sequence[str]) -> dict[str, list[str]]:
        found = {}
        for name in asked:
            words = set(name.split())
            near = [n for n in names if words & set(n.split()) and n not in asked]
            step = 1 if count is None else max(len(near) // count, 1)
            found[name] = near[::step][:count]
        return found

    return negatives


def answers(
    inferencer: OpenVocabInferencer,
    files: dict[int | str, Path],
    asks: Sequence[Ask],
    negatives: Negatives | None,
) -> list[ImageBoxes]:
    """Boxes of every ask, xywh."""
    boxes = []
    for ask in tqdm(asks, unit='image', disable=None):
        given = None if negatives is None else negatives(ask.names)
        (found,) = inferencer(files[ask.image_id], list(ask.names), negatives=given)
        corners = found.bboxes.double().numpy().copy()
        corners[:, 2:] -= corners[:, :2]
        boxes.append(
            ImageBoxes(corners, found.labels.numpy(), found.scores.double().numpy())
        )
    return boxes


def threshold(truths: Truths, asks, boxes, group: str) -> float:
    """The highest score that recalls 90 %."""
    low, high = 0.0, 1.0
    for _ in range(14):
        middle = (low + high) / 2
        figures = score_asks(truths, asks, boxes, middle)
        if figures[f'k2/{group}/recall'] >= RECALL:
            low = middle
        else:
            high = middle
    return low


def figures_of(truths: Truths, asks, boxes) -> dict[str, dict[str, float]]:
    """Group -> figures at 0.3, then two of them at equal recall."""
    plain, found = score_asks(truths, asks, boxes), {}
    for group in GROUPS:
        at = score_asks(truths, asks, boxes, threshold(truths, asks, boxes, group))
        found[group] = {column: plain[f'k2/{group}/{column}'] for column in COLUMNS}
        for column in AT_RECALL:
            found[group][f'{column}@90'] = at[f'k2/{group}/{column}']
    return found


def row(way: str, figures: dict[str, dict[str, float]]) -> str:
    """A line of the Markdown table."""
    cells = [
        f'{value:.1f}' if key.startswith('false') else f'{value:.3f}'
        for group in GROUPS
        for key, value in figures[group].items()
    ]
    return f'| {way} | ' + ' | '.join(cells) + ' |'


def main(args: argparse.Namespace) -> None:
    truths = read_truths(args.data / 'val.json')
    files = {i['id']: args.data / 'val' / truths.file_names[i['id']]
             for i in truths.images[: args.images]}  # fmt: skip
    asks = draw_asks(truths, (2,), args.seed, 'hard')
    asks = [ask for ask in asks if ask.image_id in files]
    names = [category['name'] for category in truths.categories]
    inferencer = OpenVocabInferencer(args.checkpoint, cache_size=len(files))
    ways: dict[str, Negatives | None] = {
        'no negatives': None,
        'attribute negatives': lambda asked: find_negatives([[n] for n in asked]),
        'four similar names': similar(names, 4),
        'all similar names': similar(names, None),
    }
    silent, results = inferencer.model.competitors, {}
    heads = [f'{g} {c}' for g in GROUPS for c in (*COLUMNS, 'P@90', 'false@90')]
    print('| way | ' + ' | '.join(heads) + ' |\n' + '|---' * 13 + '|')
    for label, competitors in (('no competitors', None), ('competitors', silent)):
        inferencer.model.competitors = competitors
        for way, negatives in ways.items():
            boxes = answers(inferencer, files, asks, negatives)
            figures = figures_of(truths, asks, boxes)
            results[f'{label}, {way}'] = figures
            print(row(f'{label}, {way}', figures), flush=True)
    if args.out:
        args.out.write_text(json.dumps(results, indent=1) + '\n')


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    data = Path('data/ovshapes/v1_2000train_300val_256px_seed0')
    add('--checkpoint', help='default: the embedded detector')
    add('--data', type=Path, default=data, help='folder of OVShapes')
    add('--seed', type=int, default=7, help='of the draw')
    add('--images', type=int, help='only the first ones')
    add('--out', type=Path, help='JSON')
    return parser


if __name__ == '__main__':
    main(parser().parse_args())
