"""Files of results, named after the images."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from fgclip2_det.apis.detections import Detections
from fgclip2_det.apis.inputs import InputImage
from fgclip2_det.io import InputError
from fgclip2_det.io.atomic import open_atomic, write_atomic


class OutputFiles:
    """Images under ``vis`` and JSON files under ``preds``, as ``DetInferencer`` has
    them; images of one name get numbers.

    Args:
        folder: of both; '' writes nothing.
        images: whether images are written.
        predictions: whether JSON files are written.

    Raises:
        ValueError: if the folder is a file.
    """

    def __init__(
        self, folder: str | os.PathLike, images: bool, predictions: bool
    ) -> None:
        given = bool(os.fspath(folder))
        self.folder = Path(folder)
        if given and self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f'{folder} is a file; name a folder for the results')
        self.images, self.predictions = given and images, given and predictions
        self._taken: set[str] = set()

    def write(self, stem: str, found: Detections, image: Image.Image) -> list[str]:
        """Write one image's files; returns their paths."""
        if not (self.images or self.predictions):
            return []
        name, paths = self.free_name(stem), []
        if self.images:
            paths.append(self.folder / 'vis' / f'{name}.png')
            save_image(paths[-1], image)
        if self.predictions:
            paths.append(self.folder / 'preds' / f'{name}.json')
            write_atomic(paths[-1], f'{found.to_json()}\n'.encode())
        return [str(path) for path in paths]

    def free_name(self, stem: str) -> str:
        """The stem, with a number if it was given out before."""
        name, number = stem or 'image', 1
        while name in self._taken:
            number += 1
            name = f'{stem or "image"}_{number}'
        self._taken.add(name)
        return name


def pictures_of(sources: Iterable[InputImage], folder: Path) -> list[Path]:
    """The files that images are drawn to in a folder, by :meth:`OutputFiles.free_name`
    if all can be read."""
    names = OutputFiles('', False, False)
    return [folder / f'{names.free_name(source.stem)}.png' for source in sources]


def keep_inputs(
    targets: Iterable[Path], inputs: Iterable[str | os.PathLike | None]
) -> None:
    """Refuse to write over files that are read.

    Args:
        targets: files that will be written.
        inputs: files that are read; what is None or not there is passed over.

    Raises:
        ValueError: naming a target that is an input.
    """
    written = {_identity(target): target for target in targets}
    for path in inputs:
        own = None if path is None else _identity(path)
        if own is not None and own in written:
            raise InputError(
                f'{written[own]} would be written over, and it is an input; name '
                'another folder for the results'
            )


def _identity(path: str | os.PathLike) -> tuple[int, int] | None:
    """Equal for names of one file; None where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def save_image(path: Path, image: Image.Image) -> None:
    """Write a PNG file, whole or not at all."""
    with open_atomic(path) as file:
        image.save(file, format='PNG')
