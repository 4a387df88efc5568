"""FG-OVD: the true caption of a box before captions with other attributes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from fgclip2_det.coco.fgovd_lines import read_fgovd_lines
from fgclip2_det.fgclip2 import DualEncoder

from .embedder import Embedder
from .images import ImageItem, check_images_exist, take_first, to_xyxy
from .metrics import hard_negative_ranks
from .report import Report


@dataclass(frozen=True)
class CaptionedBox:
    """One line of an FG-OVD file.

    Args:
        img_path: below the image folder, such as 'val2017/000000000139.jpg'.
        size: (w, h) of the image in pixels.
        bbox: (x1, y1, x2, y2) in pixels.
        positive: the true caption.
        negatives: at least one other caption.
    """

    img_path: str
    size: tuple[int, int]
    bbox: tuple[float, ...]
    positive: str
    negatives: tuple[str, ...]


def evaluate_fgovd(
    encoder: DualEncoder | Embedder,
    ann_files: str | os.PathLike | Sequence[str | os.PathLike],
    image_root: str | os.PathLike,
    num_images: int | None = None,
    max_num_patches: int | str = 'auto',
    progress: bool = True,
) -> dict[str, dict]:
    """Share of boxes whose true caption comes first, in percent.

    Key ``fgovd_top1/STEM`` per file (Hard, Medium, Easy, Trivial are four). Captions
    in 'box' mode; most boxes have 10 negatives, some have fewer. An image is encoded
    once for all files. A tie is wrong; the released evaluation counts it as right.
    Where a file lists the true caption among the negatives, too, its box cannot be
    right; such boxes are counted as ``contradictory/STEM``.

    Args:
        encoder: with both towers and a tokenizer, or an embedder around one (its
            patch budget and bars then count).
        ann_files: jsonl, one file or several with different names.
        image_root: folder that ``img_path`` starts from.
        num_images: the first n images alone; None takes all.
        max_num_patches: patches per image; 'auto' as in training.
        progress: show bars on a terminal.

    Returns:
        ``{'metrics': ..., 'denominators': ..., 'counts': ...}``; see :class:`Report`.

    Raises:
        ValueError: naming file and line, or the missing images.

    Reference: FG-OVD (arXiv:2311.17518); FG-CLIP 2 (arXiv:2510.10921), Table 1.
    """
    single = isinstance(ann_files, str | os.PathLike)
    files = _by_stem([ann_files] if single else ann_files)
    captions = read_captioned(files, image_root, num_images)
    embedder = Embedder.of(encoder, max_num_patches, progress)
    report = add_captioned(embedder, captions)
    report.counts['truncated_texts/box'] = embedder.num_truncated['box']
    return report.to_dict()


@dataclass(frozen=True)
class CaptionedBoxes:
    """Boxes of several files on one set of images.

    Args:
        boxes: by the files' names.
        items: images with each of their (box, true caption) once.
        rows: place of (img_path, bbox, true caption) among the boxes of the items.
    """

    boxes: dict[str, list[CaptionedBox]]
    items: list[ImageItem]
    rows: dict[tuple, int]


def read_captioned(
    files: Mapping[str, str | os.PathLike],
    image_root: str | os.PathLike,
    num_images: int | None = None,
) -> CaptionedBoxes:
    """Read and check FG-OVD files; see :func:`evaluate_fgovd` for the arguments.

    Raises:
        ValueError: naming file and line, or the missing images.
    """
    boxes = {name: list(read_fgovd(path)) for name, path in files.items()}
    paths = dict.fromkeys(box.img_path for group in boxes.values() for box in group)
    kept = set(take_first(list(paths), num_images))
    boxes = {n: [b for b in group if b.img_path in kept] for n, group in boxes.items()}
    items, rows = _group(boxes, Path(image_root))
    check_images_exist(items, Path(image_root))
    return CaptionedBoxes(boxes, items, rows)


def add_captioned(embedder: Embedder, captioned: CaptionedBoxes) -> Report:
    """Encode each image once, and rank each box's captions."""
    _, region_embeds = embedder.images(captioned.items, whole=False)
    report = Report()
    report.counts['images'] = len(captioned.items)
    distinct = {(img_path, bbox) for img_path, bbox, _ in captioned.rows}
    report.counts['distinct_boxes'] = len(distinct)
    for name, group in captioned.boxes.items():
        chosen = [captioned.rows[_key(box)] for box in group]
        _add_group(report, name, embedder, region_embeds[chosen], group)
    return report


def _key(box: CaptionedBox) -> tuple:
    return box.img_path, box.bbox, box.positive.lower()


def _add_group(
    report: Report,
    stem: str,
    embedder: Embedder,
    region_embeds: torch.Tensor,
    boxes: Sequence[CaptionedBox],
) -> None:
    rows: dict[str, int] = {}
    width = 1 + max((len(box.negatives) for box in boxes), default=1)
    index = torch.full((len(boxes), width), -1)
    for row, box in zip(index, boxes, strict=True):
        texts = [text.lower() for text in (box.positive, *box.negatives)]
        places = [rows.setdefault(text, len(rows)) for text in texts]
        row[: len(places)] = torch.tensor(places)
    text_embeds = embedder.texts(list(rows), 'box')
    ranks = hard_negative_ranks(region_embeds, text_embeds, index)
    report.add(f'fgovd_top1/{stem}', ranks)
    repeated = (index[:, 1:] == index[:, :1]).any(1)
    report.counts[f'contradictory/{stem}'] = int(repeated.sum())


def read_fgovd(path: str | os.PathLike) -> Iterator[CaptionedBox]:
    """Boxes of an FG-OVD file, checked.

    Raises:
        ValueError: naming the line: what :func:`.read_fgovd_lines` refuses, no
            negatives, no image, a box that is empty or outside its image.
    """
    for title, entry in read_fgovd_lines(path):
        img_path, negatives = entry.get('img_path'), entry['neg_expression']
        if not isinstance(img_path, str) or not img_path:
            raise ValueError(f'{title}: img_path must be a string, got {img_path!r}')
        if not negatives:
            raise ValueError(f'{title}: neg_expression must be a list of texts, got []')
        size = entry['width'], entry['height']
        bbox = to_xyxy(entry.get('bbox'), size, title)
        positive = entry['pos_expression'][0]
        yield CaptionedBox(img_path, size, bbox, positive, tuple(negatives))


def _by_stem(paths: Sequence[str | os.PathLike]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in map(Path, paths):
        if path.stem in files:
            raise ValueError(
                f'{files[path.stem]} and {path} would share the name {path.stem!r} '
                'in the results; rename one'
            )
        files[path.stem] = path
    return files


def _group(
    boxes: dict[str, list[CaptionedBox]], image_root: Path
) -> tuple[list[ImageItem], dict[tuple, int]]:
    """Images with their distinct boxes and captions, and each one's row among all."""
    by_image: dict[str, dict[tuple, None]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for box in (box for group in boxes.values() for box in group):
        size = sizes.setdefault(box.img_path, box.size)
        if size != box.size:
            raise ValueError(
                f'{box.img_path} has {size[0]} x {size[1]} pixels in one line and '
                f'{box.size[0]} x {box.size[1]} in another; correct the file'
            )
        by_image.setdefault(box.img_path, {})[_key(box)] = None
    items, rows = [], {}
    for img_path, keys in by_image.items():
        _, bboxes, texts = zip(*keys, strict=True)
        size = sizes[img_path]
        items.append(ImageItem(image_root / img_path, bboxes, size, texts))
        for key in keys:
            rows[key] = len(rows)
    return items, rows
