"""Zero-shot classification of ImageNet: each image among 1,000 names."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from fgclip2_det.coco.blanks import spoken
from fgclip2_det.vocabulary import TEMPLATE_SETS
from fgclip2_det.vocabulary.name_lists import FOLDER
from fgclip2_det.vocabulary.names import read_names_file

from .benchmark import Benchmark, DataFile, ReadOptions, Task
from .embedder import Embedder
from .image_folders import (
    LabeledImages,
    check_distinct,
    read_flat,
    read_folders,
    visible_entries,
)
from .images import ImageItem, take_first
from .metrics import label_ranks
from .report import Report

MAX_NUM_PATCHES = 1024  # of the released evaluation, whatever an image's size
_GROUPS_AT_ONCE = 100  # classes whose prompts are in memory together


def read_class_list(name: str) -> list[list[str]]:
    """Names of C classes in label order, each with its aliases.

    Args:
        name: of a text file in the vocabulary's ``lists``, such as 'imagenet'.
    """
    return read_names_file(FOLDER / f'{name}.txt')


def class_prompts(aliases: Sequence[str]) -> list[str]:
    """Lower-cased prompts of one class: CLIP's 80 templates times its aliases."""
    templates = TEMPLATE_SETS['imagenet80']
    return [t.format(spoken(name)).lower() for name in aliases for t in templates]


def embed_prompts(
    embedder: Embedder, groups: Sequence[Sequence[str]], mode: str
) -> Tensor:
    """Mean of the unit vectors of each group of prompts.

    Unlike a vocabulary, two classes may share an alias.

    Args:
        embedder: for the texts.
        groups: G lists of prompts.
        mode: 'short', 'box' or 'long'.

    Returns:
        (G, D) float32, L2-normalised, on the embedder's device.
    """
    embeds = []
    for start in range(0, len(groups), _GROUPS_AT_ONCE):
        part = groups[start : start + _GROUPS_AT_ONCE]
        texts = embedder.texts([text for group in part for text in group], mode)
        embeds += [each.mean(0) for each in texts.split([len(g) for g in part])]
    return F.normalize(torch.stack(embeds), dim=1)


def read_imagenet(
    paths: Mapping[str, Path],
    options: ReadOptions,
    wnids: Sequence[str] | None = None,
    names: Sequence[Sequence[str]] | None = None,
) -> Task:
    """ImageNet's validation images, in folders by wnid or flat.

    Flat images need Kaggle's ``LOC_val_solution.csv`` beside their folder. The
    devkit's ``ILSVRC2012_validation_ground_truth.txt`` is not read: its numbers are
    the devkit's own, which a MATLAB file explains. Images are in the order of their
    file names either way, so the first n are the same.

    Args:
        paths: ``images``, the folder.
        options: see :class:`ReadOptions`.
        wnids: of C classes, sorted; ImageNet's when None.
        names: of the same classes; ImageNet's when None.

    Raises:
        ValueError: naming the folder or line: an unknown class, a class without
            images, a file that is not an image, an image that is missing or listed
            twice.
    """
    folder = paths['images']
    wnids = wnids or [line[0] for line in read_class_list('imagenet_wnids')]
    names = names or read_class_list('imagenet')
    entries = visible_entries(folder)
    flat = [entry for entry in entries if not entry.is_dir()]
    if flat and len(flat) < len(entries):
        raise ValueError(
            f'{folder} holds both folders and files such as {flat[0].name}; expected '
            'one folder for each class, or images alone'
        )
    images = read_flat(folder, flat, wnids) if flat else read_folders(folder, wnids)
    check_distinct(images)
    return _make_task(images, names, options)


def read_imagenet_v2(
    paths: Mapping[str, Path],
    options: ReadOptions,
    names: Sequence[Sequence[str]] | None = None,
) -> Task:
    """ImageNet-V2's images, in folders that are named by the class number, 0 to 999.

    Args:
        paths: ``images``, the folder.
        options: see :class:`ReadOptions`.
        names: of C classes; ImageNet's when None.

    Raises:
        ValueError: as :func:`read_imagenet`.
    """
    names = names or read_class_list('imagenet')
    numbers = [str(label) for label in range(len(names))]
    return _make_task(read_folders(paths['images'], numbers), names, options)


def _make_task(
    images: LabeledImages, names: Sequence[Sequence[str]], options: ReadOptions
) -> Task:
    chosen = take_first(images, options.num_images)
    prompts = [class_prompts(aliases) for aliases in names]
    items = [ImageItem(path, captions=prompts[label]) for path, label in chosen]
    labels = torch.tensor([label for _, label in chosen])

    def run(embedder: Embedder) -> Report:
        embedder = _with_budget(embedder)
        class_embeds = embed_prompts(embedder, prompts, 'short')
        image_embeds, _ = embedder.images(items, regions=False)
        ranks = label_ranks(image_embeds, class_embeds, labels)
        report = Report()
        report.add('top1', ranks)
        report.add('top5', ranks, 5)
        report.counts = {
            'images': len(items),
            'classes': len(names),
            'max_num_patches': embedder.max_num_patches,
            'truncated_texts/short': embedder.num_truncated['short'],
        }
        return report

    counts = {'images': len(items), 'classes': len(names)}
    # the same for both layouts
    return Task(counts, run, folders={'images': [[p.name, row] for p, row in chosen]})


def _with_budget(embedder: Embedder) -> Embedder:
    """The embedder with the released budget, unless it has one of its own."""
    if embedder.max_num_patches != 'auto':
        return embedder
    fixed = copy.copy(embedder)
    fixed.max_num_patches = MAX_NUM_PATCHES
    return fixed


_SOURCE = 'FG-CLIP 2 (arXiv:2510.10921), Table 4'
BENCHMARKS = {
    'imagenet-1k': Benchmark(
        name='imagenet-1k',
        title='ImageNet-1K val',
        files={
            'images': DataFile(
                'imagenet/val', 'https://www.image-net.org/download-images'
            )
        },
        expected={'images': 50_000, 'classes': 1_000},
        read=read_imagenet,
        source=f'ImageNet (arXiv:1409.0575); {_SOURCE}',
        paper={'top1': (79.5, 83.0, 84.1)},
    ),
    'imagenet-v2': Benchmark(
        name='imagenet-v2',
        title='ImageNet-V2 matched frequency',
        files={
            'images': DataFile(
                'imagenetv2-matched-frequency-format-val',
                'https://huggingface.co/datasets/vaishaal/ImageNetV2',
            )
        },
        expected={'images': 10_000, 'classes': 1_000},
        read=read_imagenet_v2,
        source=f'ImageNet-V2 (arXiv:1902.10811); {_SOURCE}',
        paper={'top1': (72.2, 77.4, 77.8)},
    ),
}
