"""Naming annotated boxes: COCO, LVIS, BoxClass-CN, FG-OVD and ODinW."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean, median

from fgclip2_det.coco.blanks import spoken
from fgclip2_det.coco.odinw_sets import OdinwSet, odinw_sets
from fgclip2_det.vocabulary import Vocabulary

from .benchmark import Benchmark, DataFile, ReadOptions, Task
from .coco import add_groups, rank_boxes
from .embedder import Embedder
from .fgovd import CaptionedBoxes, add_captioned, read_captioned
from .images import check_images_exist
from .named_boxes import NamedBoxes, read_named_boxes
from .report import Report

_SOURCE = 'FG-CLIP 2 (arXiv:2510.10921), Table 2'
_COCO = 'https://cocodataset.org/#download'
_LVIS = 'https://www.lvisdataset.org/dataset'
_BOXCLASS = 'https://huggingface.co/datasets/qihoo360/BoxClass-CN'
_FGOVD = 'https://github.com/lorebianchi98/FG-OVD'
_ODINW = 'https://huggingface.co/GLIPModel/GLIP (odinw_35)'
_FREQUENCIES = {'r': 'rare', 'c': 'common', 'f': 'frequent'}
Groups = Callable[[Sequence[dict]], dict[str, set]]


def _everything(categories: Sequence[dict]) -> dict[str, set]:
    return {'all': {category['id'] for category in categories}}


def _by_frequency(categories: Sequence[dict]) -> dict[str, set]:
    """LVIS's three groups beside all.

    Raises:
        ValueError: if a category has no frequency.
    """
    groups = _everything(categories)
    groups |= {name: set() for name in _FREQUENCIES.values()}
    for category in categories:
        frequency = category.get('frequency')
        if frequency not in _FREQUENCIES:
            raise ValueError(
                f'category {category["name"]!r} has the frequency {frequency!r}, '
                f'expected one of {list(_FREQUENCIES)} as in LVIS v1'
            )
        groups[_FREQUENCIES[frequency]].add(category['id'])
    return groups


def _read_boxes(
    files: Mapping[str, Path],
    options: ReadOptions,
    language: str = 'en',
    templates: str = 'imagenet80',
    groups: Groups = _everything,
    folder: str | None = None,
) -> Task:
    """All annotations of a file, crowds included, as the released evaluation.

    A box that is empty or outside its image is counted as wrong.

    Args:
        folder: the images of this folder alone.
    """
    boxes = read_named_boxes(files['ann'], files['images'], all_boxes=True)
    if folder is not None:
        boxes = boxes.of_folder(folder)
    boxes = boxes.first(options.num_images)
    check_images_exist(boxes.items, files['images'])
    names = [spoken(category['name']) for category in boxes.categories]
    try:
        grouped = groups(boxes.categories)
        Vocabulary(names, check=False)  # refuses equal names
    except ValueError as error:
        raise ValueError(f'{files["ann"]}: {error}') from error
    rows = {category['id']: row for row, category in enumerate(boxes.categories)}
    boxes = _with_truths(boxes, names, rows)
    counts = {
        'images': len(boxes.items),
        'boxes': len(boxes.kept_ids) + len(boxes.failed),
        'failed_boxes': len(boxes.failed),
        'names': len(names),
    }

    def run(embedder: Embedder) -> Report:
        class_embeds = embedder.names(names, templates)
        report = Report(counts=dict(counts))
        ranks = rank_boxes(embedder, boxes, class_embeds, rows)
        add_groups(report, ranks, boxes, grouped, language)
        return report

    return Task(counts, run)


def _with_truths(boxes: NamedBoxes, names: Sequence[str], rows: Mapping) -> NamedBoxes:
    ids = iter(boxes.kept_ids)
    items = [
        replace(item, truths=[names[rows[next(ids)]] for _ in item.bboxes])
        for item in boxes.items
    ]
    return replace(boxes, items=items)


def _read_fgovd(files: Mapping[str, Path], options: ReadOptions) -> Task:
    levels = {name: path for name, path in files.items() if name != 'images'}
    captioned = read_captioned(levels, files['images'], options.num_images)
    counts = {f'boxes/{name}': len(group) for name, group in captioned.boxes.items()}
    counts['images'] = len(captioned.items)
    return Task(counts, partial(_run_fgovd, captioned))


def _run_fgovd(captioned: CaptionedBoxes, embedder: Embedder) -> Report:
    return add_captioned(embedder, captioned)


def _read_odinw(
    sets: Sequence[OdinwSet], files: Mapping[str, Path], options: ReadOptions
) -> Task:
    root, read = files['root'], {}
    for one in sets:
        path = root / one.ann_file
        if not path.is_file():
            raise FileNotFoundError(f'{path} is missing; it is published at {_ODINW}')
        boxes = read_named_boxes(path, root / one.image_root, all_boxes=True)
        names = [one.prompts.get(c['name'], c['name']) for c in boxes.categories]
        names = [spoken(name.replace('-', ' ')) for name in names]
        rows = {c['id']: row for row, c in enumerate(boxes.categories)}
        boxes = boxes.first(options.num_images)
        check_images_exist(boxes.items, root / one.image_root)
        read[one.name] = _with_truths(boxes, names, rows), names, rows
    counts = {
        'sets': len(sets),
        'images': sum(len(boxes.items) for boxes, _, _ in read.values()),
        'boxes': sum(len(b.kept_ids) + len(b.failed) for b, _, _ in read.values()),
        'failed_boxes': sum(len(boxes.failed) for boxes, _, _ in read.values()),
    }

    def run(embedder: Embedder) -> Report:
        report, shares = Report(counts=dict(counts)), []
        for name, (boxes, names, rows) in read.items():
            class_embeds = embedder.texts(names, 'box')
            ranks = rank_boxes(embedder, boxes, class_embeds, rows)
            report.add(f'odinw_top1/{name}', ranks)
            shares.append(report.metrics[f'odinw_top1/{name}'])
        for title, value in (('average', mean(shares)), ('median', median(shares))):
            report.metrics[f'odinw_top1/{title}'] = value
            report.denominators[f'odinw_top1/{title}'] = len(shares)
        return report

    annotations = [root / one.ann_file for one in sets]
    return Task(counts, run, folders={'root': annotations})


def _coco_like(
    name: str,
    title: str,
    ann: DataFile,
    images: DataFile,
    expected: Mapping[str, int],
    paper: Mapping[str, tuple],
    **reading: object,
) -> Benchmark:
    return Benchmark(
        name=name,
        title=title,
        files={'ann': ann, 'images': images},
        expected=expected,
        read=partial(_read_boxes, **reading),
        source=_SOURCE,
        paper=paper,
    )


# File names and boxes as fgclip2_det.prepare.layouts has them
_LEVELS = {  # stem, boxes, published top-1
    'hard': ('h_attributes', 3545, (52.3, 55.5, 54.0)),
    'medium': ('m_attributes', 2968, (76.3, 77.5, 77.4)),
    'easy': ('e_attributes', 1299, (80.3, 83.1, 79.8)),
    'trivial': ('shuffle_negatives', 3545, (92.0, 92.5, 93.5)),
}


def _fgovd(name: str, title: str, levels: Sequence[str]) -> Benchmark:
    files = {
        level: DataFile(f'fgovd/{_LEVELS[level][0]}_llava.jsonl', _FGOVD)
        for level in levels
    }
    return Benchmark(
        name=name,
        title=title,
        files=files | {'images': DataFile('coco', _COCO)},
        expected={f'boxes/{level}': _LEVELS[level][1] for level in levels},
        read=_read_fgovd,
        source='FG-OVD (arXiv:2311.17518); FG-CLIP 2 (arXiv:2510.10921), Table 1',
        paper={f'fgovd_top1/{level}': _LEVELS[level][2] for level in levels},
    )


def _odinw(count: int) -> Benchmark:
    return Benchmark(
        name=f'odinw{count}-box',
        title=f'ODinW-{count}, names of annotated boxes in each set',
        files={'root': DataFile('odinw', _ODINW)},
        expected={'sets': count},
        read=partial(_read_odinw, odinw_sets(count)),
        source='ELEVATER (arXiv:2204.08790), sets and prompts of GLIP',
    )


_ALL = (
    _coco_like(
        'coco-box',
        'COCO val2017, names of annotated boxes',
        DataFile('coco/annotations/instances_val2017.json', _COCO),
        DataFile('coco/val2017', _COCO),
        {'names': 80, 'images': 4_952, 'boxes': 36_781},
        {'box_top1/all/en': (74.9, 74.0, 77.4)},
    ),
    _coco_like(
        'lvis-box',
        'LVIS v1 val, names of annotated boxes',
        DataFile('coco/annotations/lvis_v1_val.json', _LVIS),
        DataFile('coco', _COCO),
        {'names': 1_203, 'boxes': 244_707},
        {'box_top1/all/en': (47.3, 41.9, 43.9)},
        groups=_by_frequency,
    ),
    _coco_like(
        'lvis-box-val2017',
        'LVIS v1 val, the images of val2017 alone (all that the released script '
        'scores where train2017 is not there)',
        DataFile('coco/annotations/lvis_v1_val.json', _LVIS),
        DataFile('coco', _COCO),
        {'names': 1_203},
        {},
        groups=_by_frequency,
        folder='val2017',
    ),
    _coco_like(
        'boxclass-cn',
        'BoxClass-CN, Chinese names of annotated boxes',
        DataFile('boxclass_cn/valid_category_data_total_zh.json', _BOXCLASS),
        DataFile('boxclass_cn/images', _BOXCLASS),
        {'images': 24_221, 'boxes': 66_258, 'names': 566},
        {'box_top1/all/zh': (60.7, 68.6, 66.5)},
        language='zh',
        templates='raw',
    ),
    _fgovd('fgovd', 'FG-OVD, the true caption of a box among 11', list(_LEVELS)),
    *(_fgovd(f'fgovd-{level}', f'FG-OVD {level}', [level]) for level in _LEVELS),
    _odinw(13),
    _odinw(35),
)
BENCHMARKS: dict[str, Benchmark] = {one.name: one for one in _ALL}
