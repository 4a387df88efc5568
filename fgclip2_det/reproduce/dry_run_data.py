"""A few pictures and annotation files in the layouts of the published benchmarks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fgclip2_det.reproduce.questions import MINIVAL_LIST
from fgclip2_det.vocabulary import load_list

WIDTH, HEIGHT = 160, 96
NUM_NAMES = 45  # two passes of 40 names
NUM_VAL = 5  # images of val2017 in LVIS val; two more are of train2017
_HOST = 'http://images.cocodataset.org'


def write_data(root: Path, seed: int = 0) -> None:
    """Files of every benchmark below ``root``, which is empty.

    LVIS val has 5 pictures of val2017, of which the list of minival has 4, and 2 of
    train2017; 45 of its names, and federated lists.
    """
    rng = np.random.default_rng(seed)
    boxes = {}
    for split, numbers in (('val2017', range(1, 6)), ('train2017', range(11, 13))):
        for number in numbers:
            path = root / 'coco' / split / f'{number:012d}.jpg'
            boxes[f'{split}/{path.name}'] = _draw(path, rng)
    _write_lvis(root, boxes)
    _write_coco(root, boxes)
    _write_fgovd(root, boxes)
    _write_d3(root, rng)


def names() -> list[str]:
    """The names that these files use: the first of LVIS, and their frequencies vary."""
    return list(load_list('lvis').names[:NUM_NAMES])


def captions() -> list[str]:
    """Twelve captions."""
    colors = ('red', 'green', 'blue', 'black', 'white', 'yellow')
    return [f'a {color} {thing}' for thing in ('bag', 'bear') for color in colors]


def _draw(path: Path, rng: np.random.Generator) -> list[list[int]]:
    """A picture with two rectangles; returns them as xywh."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ground = tuple(rng.integers(90, 160, 3).tolist())
    picture = Image.new('RGB', (WIDTH, HEIGHT), ground)
    pen, boxes = ImageDraw.Draw(picture), []
    for left in (4, 84):
        x, y = left + int(rng.integers(0, 30)), int(rng.integers(2, 50))
        w, h = (int(side) for side in rng.integers(20, 42, 2))
        color = tuple(rng.integers(0, 256, 3).tolist())
        pen.rectangle((x, y, x + w, y + h), fill=color)
        boxes.append([x, y, w, h])
    picture.save(path, quality=95)
    return boxes


def _dump(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding='utf-8')


def _annotations(boxes: dict[str, list], categories: Sequence[int]) -> list[dict]:
    """Two boxes an image, of categories that take turns."""
    rows = []
    for name, own in boxes.items():
        for box in own:
            category = categories[len(rows) % len(categories)]
            rows.append(
                dict(
                    id=len(rows) + 1,
                    image_id=int(Path(name).stem),
                    category_id=category,
                    bbox=box,
                    area=box[2] * box[3],
                    iscrowd=0,
                )
            )
    return rows


def _write_lvis(root: Path, boxes: dict[str, list]) -> None:
    listed = load_list('lvis')
    categories = [
        dict(id=i + 1, name=name, frequency=listed.frequency[i], synset=f'{name}.n.01')
        for i, name in enumerate(names())
    ]
    by_frequency = [listed.frequency.index(f) + 1 for f in 'fcr']
    rows = _annotations(boxes, by_frequency)
    images = []
    for name in boxes:
        number = int(Path(name).stem)
        own = {row['category_id'] for row in rows if row['image_id'] == number}
        free = [i for i in (*by_frequency, 40, 44) if i not in own]
        images.append(
            dict(
                id=number,
                width=WIDTH,
                height=HEIGHT,
                coco_url=f'{_HOST}/{name}',
                neg_category_ids=free[:2],
                not_exhaustive_category_ids=sorted(own)[:1],
            )
        )
    content = dict(info={}, images=images, annotations=rows, categories=categories)
    _dump(root / 'coco/annotations/lvis_v1_val.json', content)
    listed_names = [f'./images/{name}' for name in list(boxes)[: NUM_VAL - 1]]
    (root / MINIVAL_LIST).write_text('\n'.join(listed_names) + '\n')


def _write_coco(root: Path, boxes: dict[str, list]) -> None:
    own = {name: box for name, box in boxes.items() if name.startswith('val2017')}
    content = dict(
        images=[
            dict(id=int(Path(name).stem), file_name=Path(name).name, width=WIDTH,
                 height=HEIGHT)
            for name in own
        ],
        annotations=_annotations(own, [1, 2]),
        categories=[dict(id=i + 1, name=name) for i, name in enumerate(names()[:6])],
    )  # fmt: skip
    _dump(root / 'coco/annotations/instances_val2017.json', content)


def _write_fgovd(root: Path, boxes: dict[str, list]) -> None:
    """Two objects in a file, each with its caption and the other eleven but one."""
    texts = captions()
    stems = ('h_attributes', 'm_attributes', 'e_attributes', 'shuffle_negatives')
    for first, stem in enumerate(stems):
        lines = []
        for number in (1, 2):
            name = f'val2017/{number:012d}.jpg'
            ids = [(first + number + n) % len(texts) for n in range(11)]
            entry = dict(
                img_path=name, image_id=number, bbox=boxes[name][0], width=WIDTH,
                height=HEIGHT, category_id=ids[0], neg_category_ids=ids[1:],
                pos_expression=[texts[ids[0]]],
                neg_expression=[texts[i] for i in ids[1:]],
            )  # fmt: skip
            lines.append(json.dumps(entry))
        path = root / 'fgovd' / f'{stem}_llava.jsonl'
        path.parent.mkdir(exist_ok=True)
        path.write_text('\n'.join(lines) + '\n')


def _write_d3(root: Path, rng: np.random.Generator) -> None:
    """Three pictures and four descriptions, two of what is not there."""
    folder, texts = root / 'd3', captions()[:4]
    boxes = {
        f'{number}.jpg': _draw(folder / 'd3_images' / f'{number}.jpg', rng)
        for number in (1, 2, 3)
    }
    images = [
        dict(id=int(Path(name).stem), file_name=name, width=WIDTH, height=HEIGHT)
        for name in boxes
    ]
    categories = [dict(id=i + 1, name=text) for i, text in enumerate(texts)]
    rows = _annotations(boxes, [1, 2, 3, 4])
    for part, wanted in (('full', (1, 2, 3, 4)), ('pres', (1, 2)), ('abs', (3, 4))):
        content = dict(
            images=images,
            annotations=[row for row in rows if row['category_id'] in wanted],
            categories=categories,
        )
        _dump(folder / 'd3_json' / f'd3_{part}_annotations.json', content)
    groups = {'1': [1, 2, 3, 4], '2': [2, 3, 4], '3': [1, 2]}
    _dump(folder / 'd3_json' / 'groups.json', groups)
