"""Ground truth that fusion settings are chosen by, without leaks of novel classes."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from fgclip2_det.coco.checks import annotation_fault, index_entries
from fgclip2_det.evaluation.image_boxes import ImageBoxes
from fgclip2_det.io.text import read_json
from fgclip2_det.rescoring.score_dump import DumpHeader, ScoreDump

NOVEL = ('refuse', 'drop', 'use')


@dataclass(frozen=True)
class Truths:
    """Ground truth that settings are judged by.

    Attributes:
        images: image id -> boxes, for all images of the annotation file in its order.
        scored: (C,) bool, classes that have a box and count.
        is_base: (C,) bool.
        dropped: annotations of novel classes that were left out.
    """

    images: dict[int | str, ImageBoxes]
    scored: np.ndarray
    is_base: np.ndarray
    dropped: int


def read_truths(
    ann_file: str | os.PathLike, dump: ScoreDump, novel: str = 'refuse'
) -> Truths:
    """Ground truth of a COCO file for the classes of a dump.

    Args:
        ann_file: all its images count, also those without results.
        dump: its base and novel classes are those of the fusion.
        novel: annotations of novel classes are refused ('refuse'), left out ('drop')
            or used ('use').

    Raises:
        ValueError: for novel annotations in mode 'refuse', faulty annotations, images
            of the dump that are not in the file, categories that differ from the
            dump's, and no annotation that counts.
    """
    if novel not in NOVEL:
        raise ValueError(f'novel must be one of {NOVEL}, got {novel!r}')
    coco = read_json(ann_file)
    keys = {'images', 'categories', 'annotations'}
    if not isinstance(coco, dict) or not keys <= set(coco):
        raise ValueError(f'{ann_file} must hold {sorted(keys)}')
    path = str(ann_file)
    images = index_entries(path, 'image', coco['images'])
    categories = index_entries(path, 'category', coco['categories'])
    annotations = index_entries(path, 'annotation', coco['annotations'])
    _check_categories(path, categories, dump.header)
    stray = [i for i in dump.image_ids if i not in images]
    if stray:
        raise ValueError(
            f'image {stray[0]} of the dump {dump.folder} is not in {ann_file}; give '
            'the annotation file of the same images'
        )
    is_base = dump.header.is_base.numpy()
    label_of = {c: label for label, c in enumerate(dump.header.category_ids)}
    rows: dict = {image_id: [] for image_id in images}
    dropped = 0
    for number, annotation in annotations.items():
        fault = annotation_fault(annotation, images, categories)
        if fault:
            raise ValueError(f'{ann_file}: annotation {number}: {fault}')
        label = label_of.get(annotation['category_id'])
        if label is None:
            continue
        if novel != 'use' and not is_base[label]:
            dropped += 1
            continue
        row = *annotation['bbox'], label, annotation.get('iscrowd', 0)
        rows[annotation['image_id']].append(row)
    if dropped and novel == 'refuse':
        raise ValueError(
            f'{ann_file} has {dropped} annotations of novel classes; a setting chosen '
            'by them leaks what a test shall find out: --base-only leaves them out, '
            '--with-novel uses them all the same'
        )
    truths = {i: _truth(np.array(found, np.float64)) for i, found in rows.items()}
    scored = np.zeros(len(is_base), bool)
    for truth in truths.values():
        scored[truth.labels[~truth.crowd]] = True
    if not scored[is_base].any():
        raise ValueError(f'{ann_file} has no annotation of a base class of the dump')
    return Truths(truths, scored, is_base, dropped)


def _check_categories(path: str, categories: dict, header: DumpHeader) -> None:
    """Ids must mean what they mean in the dump; base and novel too."""
    pairs = zip(header.category_ids, header.classes, strict=True)
    for category_id, name in pairs:
        category, is_novel = categories.get(category_id), name in header.novel_classes
        if category is None and is_novel:
            continue  # a file of base classes alone
        names = [(category or {}).get(key) for key in ('name', 'name_en', 'name_zh')]
        if name not in names:
            raise ValueError(
                f'{path}: category {category_id} is {names[0]!r}, in the dump it is '
                f'{name!r}; give the annotation file that belongs to the results'
            )
        split = category.get('split')
        if split in ('base', 'novel') and (split == 'novel') != is_novel:
            raise ValueError(
                f'{path}: category {category_id} ({name!r}) has the split {split!r}, '
                f'in the dump it is {"novel" if is_novel else "base"}; dump again '
                'with --novel'
            )


def _truth(rows: np.ndarray) -> ImageBoxes:
    """Of (n, 6) rows: x, y, w, h, label, crowd; n may be 0."""
    rows = rows.reshape(-1, 6)
    return ImageBoxes(rows[:, :4], rows[:, 4].astype(np.int64), crowd=rows[:, 5] > 0)
