"""Detection by description among given boxes: D3, and FG-OVD as detectors see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from fgclip2_det.coco.fgovd_lines import read_fgovd_lines
from fgclip2_det.coco.ground_truths import Truths, make_truths, read_truths
from fgclip2_det.coco.results import Results
from fgclip2_det.evaluation.descriptions import PARTS, d3_file, d3_metrics, d3_parts
from fgclip2_det.evaluation.hard_vocabularies import (
    HardObject,
    hard_vocabulary_ap,
    read_hard_objects,
)
from fgclip2_det.io.text import read_json

from .benchmark import Benchmark, DataFile, ReadOptions, Task
from .embedder import Embedder
from .images import ImageItem, check_images_exist, take_first
from .metrics import TIE
from .report import Report

_D3 = 'https://github.com/shikras/d-cube'
_FGOVD = 'https://github.com/lorebianchi98/FG-OVD'
_COCO = 'https://cocodataset.org/#download'
GROUPS = 'groups.json'
_SCALE = 100.0  # of cosines before the softmax, as in FG-CLIP's evaluations
_NOTHING = ('nothing that was asked',)
_LEVELS = {  # stem, objects with ten negatives
    'hard': ('h_attributes', 3508),
    'medium': ('m_attributes', 2968),
    'easy': ('e_attributes', 1299),
    'trivial': ('shuffle_negatives', 3508),
}


def _read_d3(files: Mapping[str, Path], options: ReadOptions) -> Task:
    """Every description that is asked of an image scores every box of it.

    Asked are those of the image's group (the intra-scenario setting). The release has
    the groups in pickles alone, so they are read from ``groups.json`` beside the
    annotations, ``{"image id": [description ids]}``, to be written once with the set's
    own package: ``get_sent_ids(group_ids=get_group_ids(img_ids=[i]))`` of each image i.
    Without that file all are asked, and ``counts`` says so.
    """
    folder = files['json']
    for part in PARTS:
        if not d3_file(folder, part).is_file():
            raise FileNotFoundError(
                f'{d3_file(folder, part)} is missing; it is published at {_D3}'
            )
    whole = read_truths(d3_file(folder, 'full'))
    names = [entry.get('file_name') for entry in whole.images]
    chosen = take_first(list(range(len(names))), options.num_images)
    rows = np.flatnonzero(np.isin(whole.image, chosen))
    truths = make_truths(
        [whole.images[n] for n in chosen],
        whole.categories,
        whole.image[rows],
        whole.category[rows],
        whole.bboxes[rows],
    )
    asked, grouped = asked_descriptions(folder / GROUPS, truths)
    given = options.candidates(whole.images, d3_file(folder, 'full'))
    boxes, right = _boxes_of(truths, given)
    items = [
        ImageItem(files['images'] / names[n], boxes[i], truths=right[i])
        for i, n in enumerate(chosen)
    ]
    check_images_exist(items, files['images'])
    counts = {
        'images': len(items),
        'descriptions': len(truths.categories),
        'boxes': sum(map(len, boxes)),
        'boxes_given': int(given is not None),
        'intra_scenario': int(grouped),
    }
    groups = d3_parts(folder, truths)
    read = [d3_file(folder, part) for part in PARTS]
    read += [folder / GROUPS] if grouped else []
    run = partial(_run_d3, truths, items, asked, groups, counts)
    return Task(counts, run, folders={'json': read})


def asked_descriptions(path: Path, truths: Truths) -> tuple[list[list[int]], bool]:
    """Indices of the descriptions of each image, and whether a file says so."""
    if not path.is_file():
        return [list(range(len(truths.categories)))] * len(truths.images), False
    try:
        content = read_json(path)
        asked = [
            [truths.category_index[i] for i in content[str(entry['id'])]]
            for entry in truths.images
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{path} must give the ids of the descriptions of every image, as '
            f'{{"image id": [1, 2]}}: {error!r}'
        ) from error
    return asked, True


def _boxes_of(
    truths: Truths, given: Mapping[object, list[tuple]] | None
) -> tuple[list[list[tuple]], list[list[list[str]]]]:
    """Distinct boxes xyxy of each image, the given ones or else the annotated, and the
    descriptions that fit each."""
    meant: list[dict[tuple, dict[str, None]]] = [{} for _ in truths.images]
    columns = truths.image, truths.category, truths.bboxes
    for image, category, (x, y, w, h) in zip(
        *(column.tolist() for column in columns), strict=True
    ):
        own = meant[image].setdefault((x, y, x + w, y + h), {})
        own[truths.categories[category]['name']] = None
    if given is None:
        boxes = [list(group) for group in meant]
    else:
        boxes = [list(given.get(entry['id'], ())) for entry in truths.images]
    right = [
        [list(own.get(box, _NOTHING)) for box in group]
        for own, group in zip(meant, boxes, strict=True)
    ]
    return boxes, right


def _run_d3(
    truths: Truths,
    items: Sequence[ImageItem],
    asked: Sequence[Sequence[int]],
    groups: Mapping[str, np.ndarray],
    counts: Mapping[str, int],
    embedder: Embedder,
) -> Report:
    texts = embedder.texts([entry['name'] for entry in truths.categories], 'box')
    _, regions = embedder.images(items, whole=False)
    columns: tuple[list, ...] = ([], [], [], [])
    parts = regions.split([len(item.bboxes) for item in items])
    for image, (item, part, own) in enumerate(zip(items, parts, asked, strict=True)):
        scores = (_SCALE * part @ texts[torch.tensor(own)].T).softmax(1)
        n, k = scores.shape
        columns[0].append(np.full(n * k, image, np.int32))
        columns[1].append(np.tile(np.array(own, np.int32), n))
        columns[2].append(np.repeat(item.xywh(), k, axis=0))
        columns[3].append(scores.flatten().cpu().numpy().astype(np.float64))
    results = Results(*(np.concatenate(column) for column in columns))
    return _percent(d3_metrics(truths, results, groups), counts)


def _read_fgovd(level: str, files: Mapping[str, Path], options: ReadOptions) -> Task:
    """Every box of an image takes the caption that fits it best, per vocabulary."""
    objects = read_hard_objects(files['ann'])
    images = _images(files['ann'])
    chosen = take_first(
        list(dict.fromkeys(one.image_id for one in objects)), options.num_images
    )
    objects = [one for one in objects if one.image_id in set(chosen)]
    given = _given_boxes(images, files['ann'], options)
    boxes: dict = {image_id: {} for image_id in chosen}
    for one in objects:
        x, y, w, h = one.bbox
        own = boxes[one.image_id].setdefault((x, y, x + w, y + h), {})
        own[one.texts[one.category_id]] = None
    if given is not None:
        boxes = {
            i: {box: own.get(box, _NOTHING) for box in given.get(i, ())}
            for i, own in boxes.items()
        }
    items = [
        ImageItem(
            files['images'] / images[i]['file_name'],
            list(own),
            truths=[list(t) for t in own.values()],
        )
        for i, own in boxes.items()
    ]
    check_images_exist(items, files['images'])
    counts = {
        'images': len(items),
        f'objects/{level}': len(objects),
        'boxes': sum(len(item.bboxes) for item in items),
        'boxes_given': int(given is not None),
    }
    return Task(counts, partial(_run_fgovd, level, objects, chosen, items, counts))


def _run_fgovd(
    level: str,
    objects: Sequence[HardObject],
    chosen: Sequence,
    items: Sequence[ImageItem],
    counts: Mapping[str, int],
    embedder: Embedder,
) -> Report:
    _, regions = embedder.images(items, whole=False)
    parts = dict(
        zip(chosen, regions.split([len(item.bboxes) for item in items]), strict=True)
    )
    place = {i: item.xywh() for i, item in zip(chosen, items, strict=True)}
    captions: dict[str, int] = {}
    vocabularies: dict[tuple, list[int]] = {}
    for one in objects:
        ids = [one.category_id, *one.negatives]
        vocabularies.setdefault((one.image_id, one.category_id), ids)
        for i in ids:
            captions.setdefault(one.texts[i], len(captions))
    texts = embedder.texts(list(captions), 'box')
    by_id = {i: text for one in objects for i, text in one.texts.items()}
    rows = []
    for (image_id, vocabulary), ids in vocabularies.items():
        own = texts[torch.tensor([captions[by_id[i]] for i in ids])]
        cosines = parts[image_id] @ own.T
        cosines[:, 0] -= TIE  # a tie of the true caption counts as wrong
        best, label = (_SCALE * cosines).softmax(1).max(1)
        columns = zip(place[image_id], label.tolist(), best.tolist(), strict=True)
        rows += [
            (image_id, vocabulary, ids[j], box, score) for box, j, score in columns
        ]
    metrics = hard_vocabulary_ap(objects, rows)
    named = {f'{name}/{level}': value for name, value in metrics.items()}
    return _percent(named, counts)


def _given_boxes(
    images: Mapping[object, Mapping], path: Path, options: ReadOptions
) -> dict[object, list[tuple]] | None:
    """Boxes of a level's images; one file may have those of all levels."""
    if options.boxes is None:
        return None
    known = dict(images)
    for stem, _ in _LEVELS.values():
        if (other := path.with_name(f'{stem}_llava.jsonl')).is_file():
            known = _images(other) | known
    return options.candidates(known.values(), path)


def _images(path: Path) -> dict:
    """Images of a .jsonl file by id, as COCO describes them."""
    images = {}
    for title, entry in read_fgovd_lines(path):
        img_path = entry.get('img_path')
        if not isinstance(img_path, str) or not img_path:
            raise ValueError(f'{title}: img_path must be a string, got {img_path!r}')
        images[entry['image_id']] = {
            'id': entry['image_id'],
            'file_name': img_path,
            'width': entry['width'],
            'height': entry['height'],
        }
    return images


def _percent(metrics: Mapping[str, float], counts: Mapping[str, int]) -> Report:
    percent = {name: 100 * value for name, value in metrics.items() if value >= 0}
    shares = dict.fromkeys(metrics, counts['images'])
    return Report(percent, shares, dict(counts))


def _fgovd(level: str) -> Benchmark:
    return Benchmark(
        name=f'fgovd-map-{level}',
        title=f'FG-OVD {level}, mAP with vocabularies of a true caption and ten others',
        files={
            'ann': DataFile(f'fgovd/{_LEVELS[level][0]}_llava.jsonl', _FGOVD),
            'images': DataFile('coco', _COCO),
        },
        expected={f'objects/{level}': _LEVELS[level][1]},
        read=partial(_read_fgovd, level),
        source='FG-OVD (arXiv:2311.17518)',
        takes_boxes=True,
    )


_ALL = (
    Benchmark(
        name='d3',
        title='D3, mAP of 422 descriptions',
        files={
            'json': DataFile('d3/d3_json', _D3),
            'images': DataFile('d3/d3_images', _D3),
        },
        expected={'images': 10_578, 'descriptions': 422},
        read=_read_d3,
        source='Described Object Detection (arXiv:2307.12813)',
        takes_boxes=True,
    ),
    *(_fgovd(level) for level in _LEVELS),
)
BENCHMARKS: dict[str, Benchmark] = {one.name: one for one in _ALL}
