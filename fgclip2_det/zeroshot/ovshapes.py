"""Names, hard negatives and retrieval on OVShapes, in English and Chinese."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fgclip2_det.coco.annotation_file import read_coco
from fgclip2_det.datasets.ovshapes.captions import (
    LANGUAGES,
    describe,
    hard_negatives,
    region_phrases,
)
from fgclip2_det.datasets.ovshapes.classes import OVSHAPES_CLASSES
from fgclip2_det.datasets.ovshapes.generate import generate_ovshapes
from fgclip2_det.datasets.ovshapes.render import ShapeObject
from fgclip2_det.fgclip2 import DualEncoder

from .embedder import Embedder
from .images import ImageItem
from .metrics import derangement, hard_negative_ranks, label_ranks
from .report import Report
from .retrieval import add_retrieval

IMAGE_SIZE = 256  # pixels
MAX_NUM_PATCHES = 576  # enlarged to 384 px, as the tiny model's last stage trains
DEFAULT_SEED = 1000  # OVShapes' own default, and so a training's, is 0
_CAPTIONS, _NEGATIVES = 1, 2  # streams of random numbers
Objects = Sequence[Sequence[ShapeObject]]  # per image


def evaluate_ovshapes(
    encoder: DualEncoder | Embedder,
    data_root: str | os.PathLike = 'data/ovshapes',
    seed: int = DEFAULT_SEED,
    num_images: int = 300,
    num_retrieval: int = 200,
    max_num_patches: int | str = MAX_NUM_PATCHES,
    progress: bool = True,
) -> dict[str, dict]:
    """Evaluate an encoder on images that were not used for training.

    The images are the val split of OVShapes (base and novel objects, 256 px) with
    ``seed``; the same seed also draws captions, negatives and the permutation, and
    both languages get the same draws. In percent, L in en, zh:

    - ``box_top1/{base,novel}/L``: region features at the true boxes, best of the
      80 names of all classes (base, novel, unused), raw names in 'box' mode;
    - ``box_top1_permuted/L``: a control, all boxes, each class under the name of
      another one; ``box_top1_permuted`` is that of both languages. Near 0 for a
      model that reads names; what stays high has come to its answers in another way;
    - ``hard11/L``, ``hard11_base/L``: on novel and on base boxes, the true textured
      phrase before ten that differ in one attribute. Negatives name any of the 80
      classes, so that base names are no hint. Guessing gives 9.09, a random
      encoder some 2: it likes some words more than others whatever the image, and
      the true phrase has to win by colour, by shape and by texture;
    - ``retrieval/{short,long}/L/{i2t,t2i}``: R@1 among the first ``num_retrieval``
      images. Where images share a caption, word by word, each of them is right. A
      short caption names up to three objects, so others may fit by chance.

    A tie counts against the model. Every image is encoded once.

    Args:
        encoder: with both towers and a tokenizer, or an embedder around one (its
            patch budget and bars then count).
        data_root: where the images are kept; generated when missing.
        seed: one that no training used.
        num_images: of the val split.
        num_retrieval: images of the retrieval, at most.
        max_num_patches: patches per image; 256 keep the images at their own size.
        progress: show bars on a terminal.

    Returns:
        ``{'metrics': ..., 'denominators': ..., 'counts': ...}``; see :class:`Report`.

    Example:
        >>> result = evaluate_ovshapes(FGCLIP2.from_size('tiny'))
        >>> result['metrics']['box_top1/novel/zh']
    """
    items, objects = load_ovshapes(data_root, seed, num_images)
    embedder = Embedder.of(encoder, max_num_patches, progress)
    return score_ovshapes(embedder, items, objects, seed, num_retrieval).to_dict()


def load_ovshapes(
    data_root: str | os.PathLike, seed: int, num_images: int
) -> tuple[list[ImageItem], list[list[ShapeObject]]]:
    """Images and objects of a val split, generated on first use.

    An object's ``angle`` is 0: the files do not keep it and no text speaks of it.
    """
    folder = generate_ovshapes(data_root, 1, num_images, IMAGE_SIZE, seed)
    coco = read_coco(folder / 'val.json')
    classes = {c.category_id: c for c in OVSHAPES_CLASSES}
    objects: dict[int, list[ShapeObject]] = {image_id: [] for image_id in coco.images}
    for annotation in coco.annotations:
        x, y, width, height = annotation['bbox']
        objects[annotation['image_id']].append(
            ShapeObject(
                classes[annotation['category_id']],
                annotation['texture'],
                (x, y, x + width, y + height),
                angle=0.0,
                visible=annotation['visible'],
            )
        )
    items = [
        ImageItem(
            Path(folder) / 'val' / image['file_name'],
            [o.bbox for o in objects[image['id']]],
            (image['width'], image['height']),
        )
        for image in coco.images.values()
    ]
    return items, list(objects.values())


def score_ovshapes(
    embedder: Embedder,
    items: Sequence[ImageItem],
    objects: Objects,
    seed: int,
    num_retrieval: int = 200,
) -> Report:
    """All metrics of :func:`evaluate_ovshapes` for given images."""
    image_embeds, region_embeds = embedder.images(items)
    splits = [o.shape_class.split for group in objects for o in group]
    report = Report()
    report.counts['images'] = len(items)
    for split in ('base', 'novel'):
        report.counts[f'boxes/{split}'] = splits.count(split)
    groups = {s: torch.tensor([s == split for split in splits]) for s in set(splits)}
    control = []
    for language in LANGUAGES:
        control.append(
            _add_names(report, embedder, region_embeds, objects, groups, language, seed)
        )
        _add_hard(report, embedder, region_embeds, objects, groups, language, seed)
        _add_captions(
            report, embedder, image_embeds, objects, language, seed, num_retrieval
        )
    report.add('box_top1_permuted', torch.cat(control))
    for mode, count in embedder.num_truncated.items():
        report.counts[f'truncated_texts/{mode}'] = count
    return report


def _add_names(
    report: Report,
    embedder: Embedder,
    region_embeds: Tensor,
    objects: Objects,
    groups: dict[str, Tensor],
    language: str,
    seed: int,
) -> Tensor:
    """The control's ranks, (boxes,)."""
    names = [c.name_zh if language == 'zh' else c.name for c in OVSHAPES_CLASSES]
    class_embeds = embedder.texts(names, 'box')
    rows = {c: row for row, c in enumerate(OVSHAPES_CLASSES)}
    labels = torch.tensor([rows[o.shape_class] for group in objects for o in group])
    ranks = label_ranks(region_embeds, class_embeds, labels)
    for split in ('base', 'novel'):
        chosen = ranks[groups[split]] if split in groups else ranks[:0]
        report.add(f'box_top1/{split}/{language}', chosen)
    others = class_embeds[derangement(len(names), seed).to(class_embeds.device)]
    ranks = label_ranks(region_embeds, others, labels)
    report.add(f'box_top1_permuted/{language}', ranks)
    return ranks


def _add_hard(
    report: Report,
    embedder: Embedder,
    region_embeds: Tensor,
    objects: Objects,
    groups: dict[str, Tensor],
    language: str,
    seed: int,
) -> None:
    phrases = []  # true one, then negatives, per box
    for i, group in enumerate(objects):
        for j, shape in enumerate(group):
            rng = np.random.default_rng([seed, _NEGATIVES, i, j])
            negatives = hard_negatives(shape, language, rng, allowed=None)
            phrases.append([region_phrases(shape, language)[1], *negatives])
    rows: dict[str, int] = {}
    index = [[rows.setdefault(p, len(rows)) for p in group] for group in phrases]
    text_embeds = embedder.texts(list(rows), 'box')
    ranks = hard_negative_ranks(region_embeds, text_embeds, torch.tensor(index))
    for split, name in (('novel', 'hard11'), ('base', 'hard11_base')):
        chosen = ranks[groups[split]] if split in groups else ranks[:0]
        report.add(f'{name}/{language}', chosen)


def _add_captions(
    report: Report,
    embedder: Embedder,
    image_embeds: Tensor,
    objects: Objects,
    language: str,
    seed: int,
    num_retrieval: int,
) -> None:
    described = [
        describe(group, language, np.random.default_rng([seed, _CAPTIONS, i]))
        for i, group in enumerate(objects[:num_retrieval])
    ]
    for mode in ('short', 'long'):
        captions = [texts[mode] for texts in described]
        add_retrieval(
            report,
            f'retrieval/{mode}/{language}',
            embedder,
            image_embeds[: len(captions)],
            [[caption] for caption in captions],
            mode,
        )
