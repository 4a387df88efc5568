"""Images of classes on disk: a folder for each class, or flat with Kaggle's list."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from fgclip2_det.io import InputError
from fgclip2_det.io.text import check_regular

from .images import ImageItem, check_images_exist

SUFFIXES = ('.jpeg', '.jpg', '.png')
SOLUTION = 'LOC_val_solution.csv'
_SOLUTION_URL = 'https://www.kaggle.com/c/imagenet-object-localization-challenge/data'
LabeledImages = list[tuple[Path, int]]


def visible_entries(folder: Path) -> list[Path]:
    """Entries of a folder, sorted by name, without hidden ones.

    Raises:
        ValueError: if it cannot be read, or is empty.
    """
    try:
        entries = [e for e in folder.iterdir() if not e.name.startswith('.')]
    except OSError as error:
        raise InputError(f'{folder} is not a readable folder: {error}') from error
    if not entries:
        raise InputError(f'{folder} is empty; unpack the images there')
    return sorted(entries, key=lambda entry: entry.name)


def read_folders(root: Path, folders: Sequence[str]) -> LabeledImages:
    """Images of all classes, sorted by file name.

    Args:
        root: folder of the folders.
        folders: name of each class's folder in label order.

    Raises:
        ValueError: naming the folder: of no class, missing, or with another file.
    """
    present = {entry.name for entry in visible_entries(root)}
    unknown, absent = present - set(folders), set(folders) - present
    if unknown:
        raise InputError(
            f'{root / min(unknown)} is not the folder of a class; expected '
            f'{folders[0]} to {folders[-1]}'
        )
    if absent:
        raise InputError(
            f'{root} lacks the folders of {len(absent)} classes, such as '
            f'{min(absent)}; unpack the whole set'
        )
    images = [
        (path, label)
        for label, name in enumerate(folders)
        for path in visible_entries(root / name)
    ]
    for path, _ in images:
        _check_suffix(path)
    return sorted(images, key=lambda image: (image[0].name, image[1]))


def read_flat(
    folder: Path, files: Sequence[Path], wnids: Sequence[str]
) -> LabeledImages:
    """Images of one folder, with their labels from ``LOC_val_solution.csv`` beside it.

    Args:
        folder: of the images.
        files: in it.
        wnids: of the classes in label order.

    Raises:
        ValueError: naming the line or file: unknown class, image that is missing or
            not listed.
    """
    path = folder.parent / SOLUTION
    labels = _read_solution(path, {wnid: label for label, wnid in enumerate(wnids)})
    for file in files:
        _check_suffix(file)
        if file.stem not in labels:
            raise InputError(
                f'{path} has no line for {file.name}; it must list every image of '
                f'{folder}'
            )
    file_of = {file.stem: file for file in files}
    images = [
        (file_of.get(stem, folder / f'{stem}.JPEG'), label)
        for stem, label in sorted(labels.items())
    ]
    check_images_exist([ImageItem(image) for image, _ in images], folder)
    return images


def _read_solution(path: Path, rows: Mapping[str, int]) -> dict[str, int]:
    """Label of each image of Kaggle's file: ``ImageId,wnid x1 y1 x2 y2 wnid ...``."""
    try:
        check_regular(path)
        with open(path, encoding='utf-8', newline='') as file:
            lines = list(csv.reader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            f'{path} cannot be read: {error}; images that are not in folders by class '
            f'need it ({_SOLUTION_URL})'
        ) from error
    if not lines or lines[0] != ['ImageId', 'PredictionString']:
        raise InputError(
            f'{path} must begin with the line ImageId,PredictionString, got '
            f'{",".join(lines[0]) if lines else "nothing"!r}'
        )
    labels: dict[str, int] = {}
    for number, line in enumerate(lines[1:], 2):
        words = line[1].split() if len(line) == 2 else []
        if not words or words[0] not in rows:
            raise InputError(
                f'{path} line {number}: expected an image and a wnid of the '
                f'{len(rows)} classes, got {",".join(line)[:80]!r}'
            )
        if line[0] in labels:
            raise InputError(f'{path} line {number}: {line[0]} has a line before')
        labels[line[0]] = rows[words[0]]
    return labels


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        raise InputError(
            f'{path} is not an image file; expected names that end with '
            f'{", ".join(SUFFIXES)}'
        )


def check_distinct(images: LabeledImages) -> None:
    """Raise ``ValueError`` for two images whose names differ in the suffix alone, or
    not at all."""
    seen: dict[str, Path] = {}
    for path, _ in images:
        other = seen.setdefault(path.stem, path)
        if other != path:
            raise InputError(f'{path} is also there as {other}; remove one')
