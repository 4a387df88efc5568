"""Image files of a result list, checked before the first one is encoded."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.logging import print_log
from tqdm import tqdm

from fgclip2_det.fgclip2.image import TURNED_BY_OPENCV, describe_sizes, read_header

if TYPE_CHECKING:
    from fgclip2_det.coco.predictions import Predictions


def find_images(
    predictions: Predictions, image_root: str | os.PathLike, progress: bool = True
) -> dict[int | str, Path]:
    """Image id -> file, of the images with results.

    Boxes are in the pixels of the annotation file's ``width`` and ``height``; in an
    image of another size the wrong places would be pooled. Headers alone are read.
    Images whose EXIF orientation OpenCV ignores (WebP, AVIF) are counted in a warning:
    results of a detector that did not turn them are not of the upright image.

    Args:
        predictions: see :func:`.predictions.read_predictions`.
        image_root: folder that the images' file names start from.
        progress: show a bar on a terminal.

    Raises:
        ValueError: with the number of images that are missing or have another size,
            the first of them and its sizes; for one that cannot be read.
    """
    entries = {i: predictions.images[i] for i in predictions.rows}
    paths = {i: Path(image_root) / entry['file_name'] for i, entry in entries.items()}
    missing = [str(path) for path in paths.values() if not path.is_file()]
    if missing:
        raise ValueError(
            f'{len(missing)} of {len(paths)} images are missing, {missing[0]} the '
            f'first; {image_root} must be the folder that file names start from'
        )
    other, unclear = [], []
    bar = tqdm(paths.items(), 'sizes', unit='image', disable=None if progress else True)
    for image_id, path in bar:
        header, entry = read_header(path), entries[image_id]
        annotated = entry['width'], entry['height']
        if header.upright != annotated:
            other.append(f'image {image_id} ({path}): '
                         f'{describe_sizes(header, annotated)}')  # fmt: skip
        elif header.orientation != 1 and header.format not in TURNED_BY_OPENCV:
            unclear.append(path)
    if other:
        raise ValueError(
            f'{len(other)} of {len(paths)} images have another size than the '
            f'annotation file says; {other[0]}; boxes must be in the pixels of the '
            'upright image: correct the annotation file and the results, or give '
            'the images that they are of, saved without an EXIF orientation'
        )
    if unclear:
        print_log(
            f'{len(unclear)} images, {unclear[0]} the first, have an EXIF '
            'orientation that OpenCV does not apply in their format: their boxes are '
            'taken to be of the upright image',
            'current',
            logging.WARNING,
        )
    return paths
