"""Zero-shot classification of ImageNet: each image among 1,000 names."""

from __future__ import annotations

import copy
import csv
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
from .images import ImageItem, check_images_exist, take_first
from .metrics import label_ranks
from .report import Report

MAX_NUM_PATCHES = 1024  # of the released evaluation, whatever an image's size
SUFFIXES = ('.jpeg', '.jpg', '.png')
SOLUTION = 'LOC_val_solution.csv'
_SOLUTION_URL = 'https://www.kaggle.com/c/imagenet-object-localization-challenge/data'
_GROUPS_AT_ONCE = 100  # classes whose prompts are in memory together
LabeledImages = list[tuple[Path, int]]


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
        found = embedder.texts([text for group in part for text in group], mode)
        embeds += [each.mean(0) for each in found.split([len(g) for g in part])]
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
            images, a file that is no image, an image that is missing or listed twice.
    """
    folder = paths['images']
    wnids = wnids or [line[0] for line in read_class_list('imagenet_wnids')]
    names = names or read_class_list('imagenet')
    entries = _visible(folder)
    flat = [entry for entry in entries if not entry.is_dir()]
    if flat and len(flat) < len(entries):
        raise ValueError(
            f'{folder} holds both folders and files such as {flat[0].name}; expected '
            'one folder for each class, or images alone'
        )
    images = _read_flat(folder, flat, wnids) if flat else _read_folders(folder, wnids)
    _check_distinct(images)
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
    return _make_task(_read_folders(paths['images'], numbers), names, options)


def _visible(folder: Path) -> list[Path]:
    """Entries of a folder, by name, without hidden ones."""
    try:
        found = [entry for entry in folder.iterdir() if not entry.name.startswith('.')]
    except OSError as error:
        raise ValueError(f'{folder} is no folder that can be read: {error}') from error
    if not found:
        raise ValueError(f'{folder} is empty; unpack the images there')
    return sorted(found, key=lambda entry: entry.name)


def _read_folders(root: Path, folders: Sequence[str]) -> LabeledImages:
    """Images of all classes, by file name; label = place in ``folders``."""
    found = {entry.name for entry in _visible(root)}
    unknown, absent = found - set(folders), set(folders) - found
    if unknown:
        raise ValueError(
            f'{root / min(unknown)} is the folder of no class; expected {folders[0]} '
            f'to {folders[-1]}'
        )
    if absent:
        raise ValueError(
            f'{root} lacks the folders of {len(absent)} classes, such as '
            f'{min(absent)}; unpack the whole set'
        )
    images = [
        (path, label)
        for label, name in enumerate(folders)
        for path in _visible(root / name)
    ]
    for path, _ in images:
        _check_suffix(path)
    return sorted(images, key=lambda image: (image[0].name, image[1]))


def _read_flat(
    folder: Path, files: Sequence[Path], wnids: Sequence[str]
) -> LabeledImages:
    path = folder.parent / SOLUTION
    labels = _read_solution(path, {wnid: label for label, wnid in enumerate(wnids)})
    for file in files:
        _check_suffix(file)
        if file.stem not in labels:
            raise ValueError(
                f'{path} has no line for {file.name}; it must list every image of '
                f'{folder}'
            )
    found = {file.stem: file for file in files}
    images = [
        (found.get(stem, folder / f'{stem}.JPEG'), label)
        for stem, label in sorted(labels.items())
    ]
    check_images_exist([ImageItem(image) for image, _ in images], folder)
    return images


def _read_solution(path: Path, rows: Mapping[str, int]) -> dict[str, int]:
    """Label of each image of Kaggle's file: ``ImageId,wnid x1 y1 x2 y2 wnid ...``."""
    try:
        with open(path, encoding='utf-8', newline='') as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f'{path} cannot be read: {error}; images that are not in folders by class '
            f'need it ({_SOLUTION_URL})'
        ) from error
    if not lines or lines[0] != ['ImageId', 'PredictionString']:
        raise ValueError(
            f'{path} must begin with the line ImageId,PredictionString, got '
            f'{",".join(lines[0]) if lines else "nothing"!r}'
        )
    labels: dict[str, int] = {}
    for number, line in enumerate(lines[1:], 2):
        words = line[1].split() if len(line) == 2 else []
        if not words or words[0] not in rows:
            raise ValueError(
                f'{path} line {number}: expected an image and a wnid of the '
                f'{len(rows)} classes, got {",".join(line)[:80]!r}'
            )
        if line[0] in labels:
            raise ValueError(f'{path} line {number}: {line[0]} has a line before')
        labels[line[0]] = rows[words[0]]
    return labels


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        raise ValueError(
            f'{path} is no image file; expected names that end with '
            f'{", ".join(SUFFIXES)}'
        )


def _check_distinct(images: LabeledImages) -> None:
    seen: dict[str, Path] = {}
    for path, _ in images:
        other = seen.setdefault(path.stem, path)
        if other != path:
            raise ValueError(f'{path} is also there as {other}; remove one')


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

    return Task({'images': len(items), 'classes': len(names)}, run)


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
