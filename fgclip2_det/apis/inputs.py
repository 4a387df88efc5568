"""Images as users give them: files, folders, patterns, arrays, URLs."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

import numpy as np
from PIL import Image
from torch import Tensor

from fgclip2_det.fgclip2 import load_image
from fgclip2_det.fgclip2.image import ImageLike, image_endings, open_image, upright
from fgclip2_det.io import InputError
from fgclip2_det.io.text import read_bytes

URLS = ('http://', 'https://')
MAX_BYTES = 100 << 20  # of a download
TIMEOUT = 30  # seconds without an answer
VIDEOS = (
    '.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv', '.flv',
)  # fmt: skip


@dataclass(frozen=True)
class InputImage:
    """One image to detect objects in, not read yet.

    Attributes:
        source: as given: a path or URL, a PIL image, an array or a tensor.
        name: the path or URL, or 'image 3' for the third of the input.
        path: the file, or None.
        channel_order: of an (h, w, 3) array, 'bgr' or 'rgb'.
    """

    source: Any
    name: str
    path: str | None = None
    channel_order: str = 'bgr'

    @property
    def stem(self) -> str:
        """The name without folder and ending, as part of a file name."""
        if self.path is not None:
            return Path(self.path).stem
        return Path(unquote(urlsplit(self.name).path)).stem.replace(' ', '_')

    def load(self) -> Image.Image:
        """Upright 8-bit RGB.

        Raises:
            ValueError: naming the image, if it cannot be read or downloaded.
        """
        if isinstance(self.source, str) and self.source.startswith(URLS):
            return _download(self.source)
        image = self.source
        if self.channel_order == 'bgr' and isinstance(image, np.ndarray):
            image = image[..., ::-1] if image.ndim == 3 else image
        try:
            return load_image(image)
        except ValueError as error:
            if self.path is not None:
                raise
            raise InputError(f'{self.name}: {error}') from error

    def digest(self, image: Image.Image, of_file: bool) -> bytes:
        """32 bytes that tell contents apart.

        Args:
            image: what :meth:`load` returned.
            of_file: of the file's bytes instead of the pixels, for readers that may
                read it in another orientation.
        """
        if of_file and self.path is not None:
            return hashlib.blake2b(
                read_bytes(self.path), digest_size=32, person=b'file'
            ).digest()
        size = repr(image.size).encode()
        return hashlib.blake2b(size + image.tobytes(), digest_size=32).digest()


def find_inputs(
    inputs: ImageLike | Sequence[ImageLike | InputImage],
    allow_urls: bool = False,
    channel_order: str = 'bgr',
) -> list[InputImage]:
    """The images of an input, in its order; those of a folder or pattern by name.

    Args:
        inputs: one or several of: an image file, a folder, a pattern such as
            'photos/**/*.jpg', a URL, an image as ``load_image`` takes it, or an
            :class:`InputImage`.
        allow_urls: whether URLs are fetched.
        channel_order: of (h, w, 3) NumPy arrays, 'bgr' or 'rgb'.

    Raises:
        ValueError: for another channel order, an input that names no image, a URL
            without ``allow_urls``, a video or a camera.
    """
    if channel_order not in ('bgr', 'rgb'):
        raise InputError(f"channel_order must be 'bgr' or 'rgb', got {channel_order!r}")
    entries = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    if not entries:
        raise InputError('expected one or more images, got an empty list')
    sources: list[InputImage] = []
    for number, entry in enumerate(entries, 1):
        if isinstance(entry, str | os.PathLike):
            sources += _named(os.fspath(entry), allow_urls)
        elif isinstance(entry, InputImage):
            sources.append(entry)
        elif isinstance(entry, Image.Image | np.ndarray | Tensor):
            sources.append(
                InputImage(entry, f'image {number}', channel_order=channel_order)
            )
        else:
            raise InputError(_other(entry))
    return sources


def check_batch_size(size: int) -> None:
    """ValueError for a number of images below 1."""
    if size < 1:
        raise InputError(f'batch_size must be at least 1, got {size}')


def check_score_thr(score: float) -> None:
    """ValueError for what is no score."""
    try:
        number = float(score)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number <= 1:
        raise InputError(f'score_thr must be a number from 0 to 1, got {score!r}')


def check_names_given(names: Any) -> None:
    """ValueError for what is no names at all: a number, an array."""
    if not isinstance(names, Iterable) or hasattr(names, 'shape'):
        raise InputError(
            "names must be a string such as 'black cat; 白色杯子', a list or a "
            f'Vocabulary, got {names!r:.80}'
        )


def _named(text: str, allow_urls: bool) -> Iterator[InputImage]:
    """The images that a path, a pattern or a URL names."""
    if text.startswith(URLS):
        if not allow_urls:
            raise InputError(
                f'{text} is a URL, and nothing is fetched from the network unless you '
                'say so: pass allow_urls=True (--allow-urls)'
            )
        yield InputImage(text, text)
        return
    if os.path.isdir(text):
        files = _images_of(text)
    elif os.path.exists(text) or not glob.has_magic(text):
        files = [text]  # a file that is not there is an error when it is read
    else:
        files = sorted(f for f in glob.glob(text, recursive=True) if os.path.isfile(f))
        if not files:
            raise InputError(f'no file fits the pattern {text}; check it')
    for file in files:
        if Path(file).suffix.lower() in VIDEOS:
            raise InputError(
                f'{file} is a video; give it to --video, or to inferencer.video()'
            )
        yield InputImage(file, file, file)


def _images_of(folder: str) -> list[str]:
    """Image files of a folder, by name."""
    endings = image_endings()
    files = sorted(
        str(path)
        for path in Path(folder).iterdir()
        if path.suffix.lower() in endings and path.is_file()
    )
    if not files:
        raise InputError(
            f'folder {folder} contains no images; give a pattern like '
            f"'{folder}/**/*.jpg' for those of its folders"
        )
    return files


def _other(entry: object) -> str:
    if isinstance(entry, int):
        return (
            f'{entry} would be a camera; give it to inferencer.video(), or its frames '
            'as arrays'
        )
    return (
        'expected a path, a folder, a pattern, a PIL image, an array or a tensor, got '
        f'{type(entry).__name__}'
    )


def _download(url: str) -> Image.Image:
    request = Request(url, headers={'User-Agent': 'fgclip2_det'})
    try:
        with urlopen(request, timeout=TIMEOUT) as answer:
            data = answer.read(MAX_BYTES + 1)
    except (URLError, OSError, ValueError) as error:
        raise InputError(
            f'{url} cannot be fetched ({error}); check the address, or save the image '
            'and give its path'
        ) from error
    if len(data) > MAX_BYTES:
        raise InputError(
            f'{url} is larger than {MAX_BYTES >> 20} MB, the limit of a download; save '
            'it and give its path'
        )
    try:
        with open_image(data) as opened:
            return upright(opened, own=True)
    except ValueError as error:
        raise InputError(f'{url}: {error}') from error
