"""Naming ground-truth boxes of a COCO annotation file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from fgclip2_det.coco.class_split import category_name, resolve_classes
from fgclip2_det.coco.entries import names_of
from fgclip2_det.fgclip2 import DualEncoder
from fgclip2_det.io.text import read_text
from fgclip2_det.vocabulary import normalize_name

from .embedder import Embedder
from .images import check_images_exist, take_first
from .metrics import label_ranks
from .named_boxes import NamedBoxes, read_named_boxes
from .report import Report


def evaluate_coco_boxes(
    encoder: DualEncoder | Embedder,
    ann_file: str | os.PathLike,
    image_root: str | os.PathLike,
    language: str = 'en',
    novel: Sequence[str] | None = None,
    vocabulary_file: str | os.PathLike | None = None,
    templates: str | Sequence[str] = 'raw',
    num_images: int | None = None,
    max_num_patches: int | str = 'auto',
    progress: bool = True,
) -> dict[str, dict]:
    """Top-1 and top-5 names of ground-truth boxes, in percent.

    Keys are ``box_top{1,5}/all/L`` and, where the classes are split,
    ``box_top{1,5}/{base,novel}/L``; L is the language, or the name of the vocabulary
    file. All names compete for every box. Crowd boxes are left out and counted;
    every other box counts, and an image is encoded once for all of its boxes.

    Args:
        encoder: with both towers and a tokenizer, or an embedder around one (its
            patch budget and bars then count).
        ann_file: COCO file.
        image_root: folder that its file names start from.
        language: 'en' (``name_en`` or ``name``) or 'zh' (``name_zh``).
        novel: novel classes, by any of their names in the file; base is the rest.
            None: the categories' own ``split`` decides, if all have one.
        vocabulary_file: texts to use instead; see :func:`read_vocabulary`.
        templates: of the names: 'raw', 'photo', 'imagenet80' (which the published
            numbers use), or a list.
        num_images: the first n images with boxes alone; None takes all.
        max_num_patches: patches per image; 'auto' as in training.
        progress: show bars on a terminal.

    Returns:
        ``{'metrics': ..., 'denominators': ..., 'counts': ...}``; see :class:`Report`.

    Raises:
        ValueError: naming file and entry: what :func:`read_named_boxes` refuses,
            missing images, names that are unknown or equal.

    Reference: FG-CLIP 2 (arXiv:2510.10921), Table 2.
    """
    annotated = read_named_boxes(ann_file, image_root)
    items = take_first(annotated.items, num_images)
    check_images_exist(items, Path(image_root))
    boxes = replace(annotated, items=items)
    groups = _split(ann_file, annotated.categories, language, novel)
    if vocabulary_file is None:
        names = [category_name(c, language) for c in annotated.categories]
        rows = {c['id']: row for row, c in enumerate(annotated.categories)}
    else:
        names, rows = read_vocabulary(vocabulary_file, annotated.categories)
        language = Path(vocabulary_file).stem
    _check_named(boxes.kept_ids, rows, annotated.categories, vocabulary_file)
    embedder = Embedder.of(encoder, max_num_patches, progress)
    class_embeds = embedder.names(names, templates)
    ranks = rank_boxes(embedder, boxes, class_embeds, rows)
    report = Report()
    add_groups(report, ranks, boxes, groups, language)
    report.counts = {
        'images': len(items),
        'images_without_boxes': annotated.num_without,
        'boxes': len(ranks),
        'crowd_boxes_left_out': annotated.num_crowd,
        'names': len(names),
    }
    return report.to_dict()


def rank_boxes(
    embedder: Embedder, boxes: NamedBoxes, class_embeds: Tensor, rows: Mapping
) -> Tensor:
    """Rank of each box's class among all; those that failed come last, and are wrong.

    Args:
        embedder: encodes each image once for all of its boxes.
        boxes: K of them that can be pooled, and F that failed.
        class_embeds: (C, D), L2-normalised.
        rows: row in ``class_embeds`` of each category id.

    Returns:
        (K + F,) int64, 1 = right.
    """
    _, region_embeds = embedder.images(boxes.items, whole=False)
    labels = torch.tensor([rows[i] for i in boxes.kept_ids], dtype=torch.long)
    ranks = label_ranks(region_embeds, class_embeds, labels)
    last = ranks.new_full((len(boxes.failed),), len(class_embeds) + 1)
    return torch.cat([ranks, last])


def add_groups(
    report: Report,
    ranks: Tensor,
    boxes: NamedBoxes,
    groups: Mapping[str, set],
    language: str,
) -> None:
    """Add ``box_top{1,5}/GROUP/LANGUAGE`` of :func:`rank_boxes`.

    Args:
        groups: category ids by the groups' names.
    """
    ids = boxes.kept_ids + [category for _, category in boxes.failed]
    for group, members in groups.items():
        chosen = ranks[torch.tensor([i in members for i in ids], dtype=torch.bool)]
        for k in (1, 5):
            report.add(f'box_top{k}/{group}/{language}', chosen, k)


def read_vocabulary(
    path: str | os.PathLike, categories: Sequence[dict]
) -> tuple[list[list[str]], dict]:
    """Names of a text file: one class a line, in UTF-8.

    A line is a name, or the name of a category (``name``, ``name_en`` or
    ``name_zh``), a tab and the text to use for it; more tabs separate aliases. Names
    of no category compete with the others but are right for no box.

    Returns:
        Texts per line, and the line (from 0) of each category id.

    Raises:
        ValueError: if the file is not text, or a category has two lines.
    """
    path = Path(path)
    by_name = {
        normalize_name(name): category['id']
        for category in categories
        for name in names_of(category)
    }
    names: list[list[str]] = []
    rows: dict = {}
    for number, line in _text_lines(path):
        first, *texts = [word.strip() for word in line.split('\t')]
        category_id = by_name.get(normalize_name(first))
        if category_id in rows:
            raise ValueError(
                f'{path} line {number}: {first!r} has a line before; put aliases '
                'behind tabs'
            )
        if category_id is None and texts:
            raise ValueError(
                f'{path} line {number}: {first!r} is not a category of the annotation '
                'file; write one before the tab'
            )
        if category_id is not None:
            rows[category_id] = len(names)
        names.append([text for text in texts if text] or [first])
    return names, rows


def read_names(path: str | os.PathLike) -> list[str]:
    """Names of a text file, one a line."""
    return [line for _, line in _text_lines(Path(path))]


def _text_lines(path: Path) -> list[tuple[int, str]]:
    """(number from 1, line) of all lines that are not blank."""
    text = read_text(path)
    lines = [(n, line.strip()) for n, line in enumerate(text.split('\n'), 1)]
    return [(n, line) for n, line in lines if line]


def _split(
    ann_file: str | os.PathLike,
    categories: Sequence[dict],
    language: str,
    novel: Sequence[str] | None,
) -> dict[str, set]:
    """Group -> category ids; 'all', and 'base' and 'novel' where there is a split.

    Categories marked 'unused' are in 'all' alone.
    """
    groups = {'all': {c['id'] for c in categories}}
    try:
        split = resolve_classes(categories, novel=novel, language=language)
    except ValueError as error:
        raise ValueError(f'{ann_file}: {error}') from error
    if novel is not None or all('split' in c for c in categories):
        by_name = dict(zip(split.classes, split.category_ids, strict=True))
        groups['base'] = {by_name[name] for name in split.base_classes}
        groups['novel'] = {by_name[name] for name in split.novel_classes}
    return groups


def _check_named(
    box_ids: Sequence, rows: dict, categories: Sequence[dict], path: object
) -> None:
    nameless = set(box_ids) - set(rows)
    for category in categories:
        if category['id'] in nameless:
            raise ValueError(
                f'{path} has no line for the category {category["name"]!r}, which has '
                'boxes; add one'
            )
