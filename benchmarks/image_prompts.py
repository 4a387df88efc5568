"""Image prompts against text, on OVShapes.

The embedded detector is asked for two names an image, half of them present, the absent
ones of the colour or shape of something present (`few-names`, hard); once by text, once
by one or three boxes of each class, which come from the first images of the same set,
and once by both with equal weight. The other images are asked.

Example:
    python -m benchmarks.image_prompts --data data/ovshapes/*_seed0
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

from tqdm import tqdm

from fgclip2_det import FGCLIP2, OpenVocabInferencer, Vocabulary
from fgclip2_det.coco.ground_truths import read_truths
from fgclip2_det.evaluation.few_names import draw_asks, score_asks
from fgclip2_det.evaluation.image_boxes import ImageBoxes
from fgclip2_det.vocabulary.image_prompts import ImageEmbeds, ImagePrompt

FIGURES = ('AP50', 'precision', 'recall', 'false_per_100', 'auroc')


def examples_of(data: Path, count: int) -> dict[str, list[tuple[str, list[float]]]]:
    """Name -> boxes in the first ``count`` images of val."""
    content = json.loads((data / 'val.json').read_text('utf-8'))
    names = {each['id']: each['name'] for each in content['categories']}
    files = {i['id']: str(data / 'val' / i['file_name'])
             for i in content['images'][:count]}  # fmt: skip
    examples = defaultdict(list)
    for each in content['annotations']:
        if each['image_id'] in files and not each.get('iscrowd'):
            x, y, w, h = each['bbox']
            box = [x, y, x + w, y + h]
            examples[names[each['category_id']]].append((files[each['image_id']], box))
    return examples


def main(args: argparse.Namespace) -> None:
    truths = read_truths(args.data / 'val.json')
    examples = examples_of(args.data, args.prompts)
    first = {image['id'] for image in truths.images[: args.prompts]}
    asks = [
        ask for ask in draw_asks(truths, (2,), args.seed, 'hard')
        if ask.image_id not in first and all(len(examples[n]) > 2 for n in ask.names)
    ]  # fmt: skip
    inferencer = OpenVocabInferencer(cache_size=len(truths.images))
    encoder = FGCLIP2.from_pretrained('fgclip2_tiny')
    print(f'{len(asks)} images\n| asked by | ' + ' | '.join(FIGURES) + ' |')
    results = {}
    for way, count, with_text in (
        ('text', 0, True), ('one box', 1, False), ('three boxes', 3, False),
        ('three boxes and text', 3, True),
    ):  # fmt: skip
        classes = {
            name: ImageEmbeds.encode(
                [ImagePrompt(name, own[:count], name if with_text else None)], encoder
            )
            for name, own in examples.items() if count and len(own) > 2
        }  # fmt: skip
        boxes = []
        for ask in tqdm(asks, unit='image', disable=None):
            names = Vocabulary(list(ask.names), check=False)
            if count:
                names = ImageEmbeds.join([classes[n] for n in ask.names]).vocabulary()
            file = args.data / 'val' / truths.file_names[ask.image_id]
            (found,) = inferencer(file, names)
            corners = found.bboxes.double().numpy().copy()
            corners[:, 2:] -= corners[:, :2]
            boxes.append(
                ImageBoxes(corners, found.labels.numpy(), found.scores.double().numpy())
            )
        figures = results[way] = score_asks(truths, asks, boxes)
        cells = [
            f'{figures[f"k2/base/{figure}"]:.3f} / {figures[f"k2/novel/{figure}"]:.3f}'
            for figure in FIGURES
        ]
        print(f'| {way} | ' + ' | '.join(cells) + ' |', flush=True)
    if args.out:
        args.out.write_text(json.dumps(results, indent=1) + '\n')


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    data = Path('data/ovshapes/v1_2000train_300val_256px_seed0')
    add('--data', type=Path, default=data, help='folder of OVShapes')
    add('--prompts', type=int, default=100, help='images that examples come from')
    add('--seed', type=int, default=7, help='of the draw')
    add('--out', type=Path, help='JSON')
    return parser


if __name__ == '__main__':
    main(parser().parse_args())
