"""Ground truth for choosing fusion settings, without leaks of novel classes."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import numpy as np

from fgclip2_det.coco.annotation_file import CocoFile, read_coco
from fgclip2_det.coco.entries import NAME_KEYS
from fgclip2_det.coco.ground_truths import LEFT_OUT, Truths, to_truths
from fgclip2_det.evaluation.few_names.name_pools import is_federated
from fgclip2_det.rescoring.score_dump import DumpHeader, ScoreDump

NOVEL = ('refuse', 'drop', 'use')


@dataclass(frozen=True)
class TuningTruths:
    """Ground truth that settings are judged by.

    Attributes:
        boxes: all images of the annotation file; its C classes are the dump's, in
            label order.
        scored: (C,) bool, classes that have a box and count.
        is_base: (C,) bool.
        dropped: annotations of novel classes that were left out.
    """

    boxes: Truths
    scored: np.ndarray
    is_base: np.ndarray
    dropped: int


def tuning_truths(
    ann_file: str | os.PathLike,
    dump: ScoreDump,
    novel: str = 'refuse',
    with_absent: bool = False,
) -> TuningTruths:
    """Ground truth of a COCO file for the classes of a dump.

    Args:
        ann_file: all its images count, also those without results.
        dump: its base and novel classes are those of the fusion.
        novel: annotations of novel classes are refused ('refuse'), left out ('drop')
            or used ('use').
        with_absent: read from a LVIS file which classes its images are known to lack.

    Raises:
        ValueError: for novel annotations in mode 'refuse', faulty annotations, images
            of the dump that are not in the file, categories that differ from the
            dump's, and no annotation that counts.
    """
    if novel not in NOVEL:
        raise ValueError(f'novel must be one of {NOVEL}, got {novel!r}')
    coco = read_coco(ann_file)
    _check_belongs(coco, dump)
    federated = with_absent and is_federated(list(coco.images.values()))
    truths = _by_label(to_truths(coco, federated), dump.header)
    is_base = dump.header.is_base.numpy()
    of_novel = ~is_base[truths.category]
    dropped = 0 if novel == 'use' else int(of_novel.sum())
    if dropped and novel == 'refuse':
        raise ValueError(
            f'{ann_file} has {dropped} annotations of novel classes; a setting chosen '
            'by them leaks the test data into the model: --base-only leaves them out, '
            '--with-novel uses them all the same'
        )
    if dropped:
        truths = truths.select(~of_novel)
    scored = np.zeros(len(is_base), bool)
    scored[truths.category[~truths.crowd]] = True
    if not scored[is_base].any():
        raise ValueError(f'{ann_file} has no annotation of a base class of the dump')
    return TuningTruths(truths, scored, is_base, dropped)


def _by_label(truths: Truths, header: DumpHeader) -> Truths:
    """The boxes of the dump's classes; label i is class i."""
    place = np.full(len(truths.categories), -1)
    for label, category_id in enumerate(header.category_ids):
        index = truths.category_index.get(category_id, LEFT_OUT)
        if index != LEFT_OUT:
            place[index] = label
    pairs = list(zip(header.category_ids, header.classes, strict=True))
    own = truths.with_classes(place, [{'id': i, 'name': name} for i, name in pairs])
    return replace(own, category_names={i: (name,) for i, name in pairs})


def _check_belongs(coco: CocoFile, dump: ScoreDump) -> None:
    """The file has the images and the categories of the dump."""
    _check_categories(coco.path, coco.categories, dump.header)
    stray = [i for i in dump.image_ids if i not in coco.images]
    if stray:
        raise ValueError(
            f'image {stray[0]} of the dump {dump.folder} is not in {coco.path}; give '
            'the annotation file of the same images'
        )


def _check_categories(path: str, categories: dict, header: DumpHeader) -> None:
    """Ids must mean what they mean in the dump; base and novel too."""
    pairs = zip(header.category_ids, header.classes, strict=True)
    for category_id, name in pairs:
        is_novel = name in header.novel_classes
        if is_novel and category_id not in categories:
            continue  # a file of base classes alone
        category = categories.get(category_id, {})
        names = [category.get(key) for key in NAME_KEYS]
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
