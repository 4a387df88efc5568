"""Phrase grounding among given boxes: RefCOCO/+/g, Flickr30k Entities."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from fgclip2_det.coco.ground_truths import Truths, make_truths
from fgclip2_det.coco.results import Results
from fgclip2_det.evaluation.phrase_grounding import (
    KS,
    pair_ranks,
    read_expressions,
    read_phrases,
)

from .benchmark import Benchmark, DataFile, ReadOptions, Task
from .embedder import Embedder
from .images import ImageItem, check_images_exist, take_first
from .report import Report

_MDETR = 'https://huggingface.co/GLIPModel/GLIP (mdetr_annotations)'
_COCO = 'https://cocodataset.org/#download'
_NOTHING = ('nothing that was asked',)
_FLICKR = 'https://shannon.cs.illinois.edu/DenotationGraph/'


def read_grounding(
    files: Mapping[str, Path],
    options: ReadOptions,
    read: Callable[[Path], Truths],
    texts_of: Callable[[dict], Sequence[str]],
    titles: Mapping[str, bool],
) -> Task:
    """Phrases, images and the boxes to choose from.

    Those are ``options.boxes``, by the id of any entry of the image, or else all boxes
    that the file annotates in the image, for whichever phrase.

    Args:
        read: reader of the annotation file.
        texts_of: phrases of an entry, in the order of its categories.
        titles: name of the metric -> whether all boxes of a phrase are one.

    Raises:
        ValueError: what the reader refuses; missing images; boxes of unknown entries,
            outside their image, or none in an image; entries without a name or size.
    """
    truths = read(files['ann'])
    names = [_name(entry, files['ann']) for entry in truths.images]
    chosen = take_first(list(dict.fromkeys(names)), options.num_images)
    place = {name: number for number, name in enumerate(chosen)}
    given = options.candidates(truths.images, files['ann'])
    boxes = _candidates(truths, names, given)
    entries = [n for n, name in enumerate(names) if name in place]
    truths = _part(truths, entries)
    missing = [name for name in chosen if not boxes.get(name)]
    if missing:
        raise ValueError(
            f'{options.boxes or files["ann"]} has no box in {len(missing)} of '
            f'{len(chosen)} images, {missing[0]} the first; every image needs some'
        )
    texts = [list(texts_of(entry)) for entry in truths.images]
    right = _right_texts(truths, names, entries, boxes, texts)
    sizes = _sizes(truths, names, entries, files['ann'])
    items = [
        ImageItem(files['images'] / name, boxes[name], sizes[name], right[name])
        for name in chosen
    ]
    if given is None:
        _check_inside(items, files['ann'])
    check_images_exist(items, files['images'])
    pairs = len(np.unique(truths.keys(truths.image, truths.category)))
    counts = {
        'images': len(items),
        'phrases': pairs,
        'boxes': sum(len(item.bboxes) for item in items),
        'boxes_given': int(given is not None),
    }
    owner = [place[names[n]] for n in entries]
    return Task(counts, partial(_run, truths, items, texts, owner, titles, counts))


def _run(
    truths: Truths,
    items: Sequence[ImageItem],
    texts: Sequence[Sequence[str]],
    owner: Sequence[int],
    titles: Mapping[str, bool],
    counts: Mapping[str, int],
    embedder: Embedder,
) -> Report:
    _, regions = embedder.images(items, whole=False)
    parts = regions.split([len(item.bboxes) for item in items])
    embeds = iter(
        embedder.texts([text for group in texts for text in group], 'box').split(
            [len(group) for group in texts]
        )
    )
    columns: tuple[list, list, list, list] = ([], [], [], [])
    for number, (group, place) in enumerate(zip(texts, owner, strict=True)):
        scores = (next(embeds) @ parts[place].T).cpu().numpy()  # (phrases, boxes)
        bboxes = items[place].xywh()
        for phrase in range(len(group)):
            columns[0].append(np.full(len(bboxes), number, np.int32))
            columns[1].append(np.full(len(bboxes), phrase, np.int32))
            columns[2].append(bboxes)
            columns[3].append(scores[phrase].round(6).astype(np.float64))
    results = Results(*(np.concatenate(column) for column in columns))
    report = Report(counts=dict(counts))
    for title, merged in titles.items():
        ranks = torch.from_numpy(pair_ranks(truths, results, merged))
        for k in KS:
            report.add(f'{title}@{k}', ranks, k)
    return report


def _candidates(
    truths: Truths, names: Sequence[str], given: Mapping | None
) -> dict[str, list[tuple]]:
    """Distinct boxes xyxy of each image."""
    boxes: dict[str, dict[tuple, None]] = {}
    if given is None:
        for image, (x, y, w, h) in zip(
            truths.image.tolist(), truths.bboxes.tolist(), strict=True
        ):
            boxes.setdefault(names[int(image)], {})[x, y, x + w, y + h] = None
    else:
        for entry, name in zip(truths.images, names, strict=True):
            boxes.setdefault(name, {}).update(dict.fromkeys(given.get(entry['id'], ())))
    return {name: list(distinct) for name, distinct in boxes.items()}


def _name(entry: dict, path: Path) -> str:
    name = entry.get('file_name')
    if not isinstance(name, str) or not name:
        raise ValueError(f'{path}: entry {entry["id"]} has no file_name')
    return name


def _sizes(
    truths: Truths, names: Sequence[str], entries: Sequence[int], path: Path
) -> dict[str, tuple[int, int]]:
    """(w, h) in pixels of each image; MDETR's Flickr30k files have them as text."""
    sizes: dict[str, tuple[int, int]] = {}
    for number, entry in zip(entries, truths.images, strict=True):
        try:
            size = int(entry['width']), int(entry['height'])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f'{path}: entry {entry["id"]} must state width and height in pixels'
            ) from error
        if sizes.setdefault(names[number], size) != size:
            raise ValueError(
                f'{path}: {names[number]} has {sizes[names[number]]} and {size} pixels '
                'in two entries; correct the file'
            )
    return sizes


def _check_inside(items: Sequence[ImageItem], path: Path) -> None:
    for item in items:
        if item.size is None:
            raise ValueError(f'{path}: {item.path} has no size')
        width, height = item.size
        for x1, y1, x2, y2 in item.bboxes:
            if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
                raise ValueError(
                    f'{path}: box {[x1, y1, x2, y2]} (xyxy) lies outside '
                    f'{item.path}, {width} x {height} pixels; correct or remove it'
                )


def _part(truths: Truths, entries: Sequence[int]) -> Truths:
    """The entries of the chosen images, renumbered."""
    rows = np.flatnonzero(np.isin(truths.image, entries))
    image = np.searchsorted(entries, truths.image[rows])
    return make_truths(
        [truths.images[n] for n in entries],
        truths.categories,
        image,
        truths.category[rows],
        truths.bboxes[rows],
    )


def _right_texts(
    truths: Truths,
    names: Sequence[str],
    entries: Sequence[int],
    boxes: Mapping[str, Sequence[tuple]],
    texts: Sequence[Sequence[str]],
) -> dict[str, list[Sequence[str]]]:
    """Truths of each box, for the oracle: phrases that mean it, or that none does."""
    meant: dict[tuple, dict[str, None]] = {}
    columns = truths.image, truths.category, truths.bboxes
    for image, category, (x, y, w, h) in zip(
        *(column.tolist() for column in columns), strict=True
    ):
        key = names[entries[int(image)]], (x, y, x + w, y + h)
        meant.setdefault(key, {})[texts[int(image)][int(category)]] = None
    return {
        name: [list(meant.get((name, box), _NOTHING)) for box in group]
        for name, group in boxes.items()
    }


def _refcoco(name: str, expected: int) -> Benchmark:
    return Benchmark(
        name=name,
        title=f'{name.replace("refcoco", "RefCOCO").replace("-", " ")}, the box that '
        'an expression means',
        files={
            'ann': DataFile(
                f'coco/mdetr_annotations/finetune_{name.replace("-", "_")}.json', _MDETR
            ),
            'images': DataFile('coco/train2014', _COCO),
        },
        expected={'phrases': expected},
        read=partial(
            read_grounding,
            read=read_expressions,
            texts_of=lambda entry: [entry['caption']],
            titles={'refexp/P': False},
        ),
        source='RefCOCO and RefCOCO+ (arXiv:1608.00272), RefCOCOg (arXiv:1511.02283)',
        takes_boxes=True,
    )


def _flickr(split: str, expected: Mapping[str, int]) -> Benchmark:
    folder = 'flickr30k_entities'
    ann = f'{folder}/final_flickr_separateGT_{split}.json'
    return Benchmark(
        name=f'flickr30k-entities-{split}',
        title=f'Flickr30k Entities {split}, the boxes that a phrase means',
        files={
            'ann': DataFile(ann, _MDETR),
            'images': DataFile(f'{folder}/flickr30k_images', _FLICKR),
        },
        expected=expected,
        read=partial(
            read_grounding,
            read=read_phrases,
            texts_of=lambda entry: entry['phrases'],
            titles={'flickr30k/any/R': False, 'flickr30k/merged/R': True},
        ),
        source='Flickr30k Entities (arXiv:1505.04870)',
        takes_boxes=True,
    )


_EXPRESSIONS = {
    'refcoco-val': 10_834,
    'refcoco-testA': 5_657,
    'refcoco-testB': 5_095,
    'refcoco+-val': 10_758,
    'refcoco+-testA': 5_726,
    'refcoco+-testB': 4_889,
    'refcocog-val': 4_896,
    'refcocog-test': 9_602,
}
_ALL = (
    *(_refcoco(name, count) for name, count in _EXPRESSIONS.items()),
    _flickr('val', {'images': 1_000}),
    _flickr('test', {'images': 1_000}),
)
BENCHMARKS: dict[str, Benchmark] = {one.name: one for one in _ALL}
