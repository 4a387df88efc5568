"""Segmentation: each pixel gets a name, from the dense map, zero-shot, or from a
trained decoder.

Nothing is trained here. The paper's Table 6 is of Cat-Seg, which was trained on
COCO-Stuff with the encoder inside, so it says nothing about zero-shot numbers; what
compares with it is an :class:`.Embedder` around such a decoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fgclip2_det.fgclip2.image import open_image
from fgclip2_det.io import InputError
from fgclip2_det.io.text import read_text
from fgclip2_det.vocabulary import load_list

from .benchmark import Benchmark, DataFile, ReadOptions, Task
from .embedder import Embedder
from .images import ImageItem, check_images_exist, take_first
from .report import Report
from .zeroshot import class_prompts, embed_prompts, read_class_list

_MODES = ('P', 'L', 'I;16', 'I;16B', 'I')  # PIL's for maps of one number a pixel


@dataclass(frozen=True)
class Scheme:
    """Classes of a data set, and how its label maps write them.

    Args:
        names: of C classes, each a list of T_c names with aliases. A pixel's score for
            a class is that of its best name; aliases of a name are averaged.
        first: number of the first class in a label map.
        ignored: numbers of pixels that count for nothing.
    """

    names: Sequence[Sequence[Sequence[str]]]
    first: int = 0
    ignored: tuple[int, ...] = (255,)


def read_label_map(path: Path, scheme: Scheme) -> Tensor:
    """Classes of an image's pixels.

    Args:
        path: png or tif with one number a pixel (a palette's index, or grey).
        scheme: of the data set.

    Returns:
        (H, W) int64, rows of ``scheme.names``; -1 where nothing counts.

    Raises:
        ValueError: naming the file: unreadable, of another type, or with a number
            that is not a class.
    """
    with open_image(path, 'label map') as opened:
        mode, values = opened.mode, np.array(opened)
    if mode not in _MODES or values.ndim != 2:
        raise InputError(
            f'label map {path} must have one number a pixel (mode {" or ".join(_MODES)}'
            f'), got mode {mode}'
        )
    rows = values.astype(np.int64) - scheme.first
    ignored = np.isin(values, scheme.ignored)
    bad = ((rows < 0) | (rows >= len(scheme.names))) & ~ignored
    if bad.any():
        last = scheme.first + len(scheme.names) - 1
        raise InputError(
            f'label map {path} holds {values[bad][0]}; expected {scheme.first} to '
            f'{last}, or {list(scheme.ignored)} for what is ignored'
        )
    rows[ignored] = -1
    return torch.from_numpy(rows)


def read_segmentation(
    paths: Mapping[str, Path], options: ReadOptions, scheme: Scheme, suffix: str
) -> Task:
    """Images and their label maps, all of them opened and checked.

    Args:
        paths: ``images`` (jpg) and ``labels``, folders with the same file names;
            ``list``, where there is one, names the images that count.
        options: see :class:`ReadOptions`.
        scheme: of the data set.
        suffix: of label maps.

    Raises:
        ValueError: naming the file: what :func:`read_label_map` refuses, a label map
            or image that is missing, a name that is listed twice, no name at all.
    """
    stems = take_first(_stems(paths, suffix), options.num_images)
    maps = [paths['labels'] / f'{stem}{suffix}' for stem in stems]
    check_images_exist([ImageItem(path) for path in maps], paths['labels'])
    images = [paths['images'] / f'{stem}.jpg' for stem in stems]
    check_images_exist([ImageItem(path) for path in images], paths['images'])
    names = [name for each in scheme.names for name in each]
    class_of = [row for row, each in enumerate(scheme.names) for _ in each]
    prompts = [class_prompts(aliases) for aliases in names]
    right = [prompts[class_of.index(row)] for row in range(len(scheme.names))]
    items = [
        ImageItem(
            image,
            size=_size(read_label_map(path, scheme)),
            truth_map=partial(_truth_map, path, scheme, right),
        )
        for image, path in zip(images, maps, strict=True)
    ]

    def run(embedder: Embedder) -> Report:
        from .confusion import add_segmentation, score_confusion

        text_embeds = embed_prompts(embedder, prompts, 'box')
        rows = torch.tensor(class_of)
        num_classes = len(scheme.names)
        counts = torch.zeros(num_classes, num_classes, dtype=torch.long)
        scored = embedder.name_maps(items, text_embeds)
        for path, scores in zip(maps, scored, strict=True):
            labels = read_label_map(path, scheme)
            counts = counts.to(scores.device)
            counts += score_confusion(scores, rows, labels)
        report = Report(counts={'images': len(items)})
        add_segmentation(report, counts)
        report.counts['truncated_texts/box'] = embedder.num_truncated['box']
        return report

    counts = {'images': len(items), 'classes': len(scheme.names)}
    return Task(counts, run, folders={'labels': maps})


def _size(label_map: Tensor) -> tuple[int, int]:
    """(w, h) of a (H, W) label map."""
    height, width = label_map.shape
    return width, height


def _truth_map(
    path: Path, scheme: Scheme, texts: Sequence[Sequence[str]]
) -> tuple[Tensor, Sequence[Sequence[str]]]:
    return read_label_map(path, scheme), texts


def _stems(paths: Mapping[str, Path], suffix: str) -> list[str]:
    """File names without their ends, of the list or else of all label maps."""
    source = paths.get('list', paths['labels'])
    if source.is_dir():
        stems = sorted(path.stem for path in source.glob(f'*{suffix}'))
    else:
        stems = read_text(source).split()
    if not stems:
        raise InputError(f'{source} names no image; expected some *{suffix} files')
    if len(set(stems)) < len(stems):
        twice = next(stem for stem in stems if stems.count(stem) > 1)
        raise InputError(f'{source} lists {twice} twice; remove one line')
    return stems


# ------------------------------------------------------------------ the data sets
def _single(names: Sequence[Sequence[str]]) -> list[list[Sequence[str]]]:
    """One name, with its aliases, for each class."""
    return [[aliases] for aliases in names]


def _voc_names(background: bool) -> list[list[Sequence[str]]]:
    """VOC's 20; the background before them is all of PASCAL Context that is not VOC.

    Reference: OpenSeg (arXiv:2112.12143), section 4, as Cat-Seg does it.
    """
    objects: list[Sequence[str]] = [[name] for name in load_list('voc').names]
    known = {name for each in objects for name in each} | {'table'}  # diningtable
    others: list[Sequence[str]] = [
        each for each in read_class_list('pc59') if each[0] not in known
    ]
    return [others] * background + _single(objects)


def _benchmark(
    name: str,
    title: str,
    files: Mapping[str, tuple[str, str]],
    num_images: int,
    scheme: Scheme,
    source: str,
    suffix: str = '.png',
) -> Benchmark:
    return Benchmark(
        name=name,
        title=title,
        files={role: DataFile(*file) for role, file in files.items()},
        expected={'images': num_images, 'classes': len(scheme.names)},
        read=partial(read_segmentation, scheme=scheme, suffix=suffix),
        source=source,
    )


_ADE = 'ADE20K (arXiv:1608.05442)'
_CONTEXT = 'PASCAL Context (Mottaghi et al., CVPR 2014)'
_VOC_URL = 'http://host.robots.ox.ac.uk/pascal/VOC/voc2012/'
# the scripts that write the label maps
_FULL_URL = 'https://github.com/facebookresearch/MaskFormer/tree/main/datasets'
_CONTEXT_URL = 'https://github.com/cvlab-kaist/CAT-Seg/tree/main/datasets'
_ADE_URL = 'http://sceneparsing.csail.mit.edu'


def _context_files(labels: str) -> dict[str, tuple[str, str]]:
    folder = 'VOCdevkit/VOC2010'
    return {
        'images': (f'{folder}/JPEGImages', _CONTEXT_URL),
        'labels': (f'{folder}/annotations_detectron2/{labels}', _CONTEXT_URL),
    }


_VOC_FILES = {
    'images': ('VOCdevkit/VOC2012/JPEGImages', _VOC_URL),
    'labels': ('VOCdevkit/VOC2012/SegmentationClass', _VOC_URL),
    'list': ('VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt', _VOC_URL),
}
_ALL = (
    _benchmark(
        'ade-150',
        'ADE20K, 150 classes',
        {
            'images': ('ADEChallengeData2016/images/validation', _ADE_URL),
            'labels': ('ADEChallengeData2016/annotations/validation', _ADE_URL),
        },
        2_000,
        Scheme(_single(read_class_list('ade150')), first=1, ignored=(0,)),
        _ADE,
    ),
    _benchmark(
        'ade-847',
        'ADE20K-Full, 847 classes',
        {
            'images': ('ADE20K_2021_17_01/images_detectron2/validation', _FULL_URL),
            'labels': (
                'ADE20K_2021_17_01/annotations_detectron2/validation', _FULL_URL,
            ),
        },
        2_000,
        Scheme(_single(read_class_list('ade847')), ignored=(65535,)),
        _ADE,
        '.tif',
    ),
    _benchmark(
        'pc-59',
        'PASCAL Context, 59 classes',
        _context_files('pc59_val'),
        5_104,
        Scheme(_single(read_class_list('pc59'))),
        _CONTEXT,
    ),
    _benchmark(
        'pc-459',
        'PASCAL Context, 459 classes',
        _context_files('pc459_val'),
        5_104,
        Scheme(_single(read_class_list('pc459')), ignored=(459, 65535)),
        _CONTEXT,
        '.tif',
    ),
    _benchmark(
        'voc-20',
        'PASCAL VOC 2012, 20 classes',
        _VOC_FILES,
        1_449,
        Scheme(_voc_names(background=False), first=1, ignored=(0, 255)),
        'PASCAL VOC 2012',
    ),
    _benchmark(
        'voc-21',
        'PASCAL VOC 2012, 20 classes and background',
        _VOC_FILES,
        1_449,
        Scheme(_voc_names(background=True)),
        'PASCAL VOC 2012; background of OpenSeg (arXiv:2112.12143)',
    ),
)  # fmt: skip
BENCHMARKS = {benchmark.name: benchmark for benchmark in _ALL}
