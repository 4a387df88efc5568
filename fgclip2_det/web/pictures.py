"""Uploaded images: decoded within limits, and the last few kept."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from io import BytesIO

from PIL import Image

from fgclip2_det.fgclip2.image import open_image, upright
from fgclip2_det.web.limits import NAME_LENGTH, Limits, Refused

# of cameras, screens and the web, by Pillow's names
FORMATS = ('AVIF', 'BMP', 'GIF', 'JPEG', 'MPO', 'PNG', 'PPM', 'TIFF', 'WEBP')
EXPECTED = f'expected an image, {", ".join(FORMATS)}'
ONE_PICTURE = ('JPEG', 'MPO')  # further frames are previews of the first


@dataclass(frozen=True)
class Upload:
    """An image as it came.

    Attributes:
        data: the file's bytes.
        name: of the file, for the answer; never opened.
    """

    data: bytes = field(repr=False)
    name: str = ''

    @property
    def key(self) -> str:
        """Tells contents apart, 32 hexadecimal digits."""
        return hashlib.blake2b(self.data, digest_size=16).hexdigest()

    @property
    def label(self) -> str:
        """The name without folders, in a length that can be shown."""
        return self.name.replace('\\', '/').rpartition('/')[2][-NAME_LENGTH:]


@dataclass(frozen=True)
class Picture:
    """A decoded image.

    Attributes:
        key: of its upload.
        image: upright 8-bit RGB.
        notes: what a person should know of it.
    """

    key: str
    image: Image.Image
    notes: tuple[str, ...] = ()


def decode(upload: Upload, max_pixels: int) -> Picture:
    """Decode an upload; its size is checked before its pixels are read.

    Raises:
        Refused: for another format than those of :data:`FORMATS`, a damaged file, or
            too many pixels.
    """
    name = f'image {upload.label}'.strip()
    if not upload.data:
        raise Refused(422, 'no_image', f'{name} is empty; choose an image file')
    try:
        with open_image(upload.data, name) as opened:
            kind, (width, height) = opened.format, opened.size
            if kind in FORMATS and width * height <= max_pixels:
                return Picture(upload.key, upright(opened), _notes(opened, name))
    except ValueError as error:
        if isinstance(error.__cause__, Image.DecompressionBombError):
            raise _too_many_pixels(name, max_pixels) from error
        raise Refused(422, 'no_image', f'{error}; {EXPECTED}') from error
    if kind not in FORMATS:
        raise Refused(422, 'no_image', f'{name} has the format {kind}; {EXPECTED}')
    raise _too_many_pixels(f'{name}, {width} x {height},', max_pixels)


def _too_many_pixels(name: str, max_pixels: int) -> Refused:
    return Refused(
        413,
        'too_many_pixels',
        f'{name} has more than {max_pixels:,} pixels; make it smaller',
    )


def _notes(opened: Image.Image, name: str) -> tuple[str, ...]:
    if opened.format in ONE_PICTURE or not getattr(opened, 'is_animated', False):
        return ()
    return (f'{name} has several frames or pages; the first is used',)


class Pictures:
    """The images that were used last.

    Args:
        limits: of the server.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._kept: OrderedDict[str, Picture] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, key: object) -> bool:
        return key in self._kept

    def add(self, upload: Upload) -> Picture:
        """The image of an upload, decoded unless it is here.

        Raises:
            Refused: see :func:`decode`.
        """
        key = upload.key
        if key not in self._kept:
            self._kept[key] = decode(upload, self.limits.pixels)
        self._kept.move_to_end(key)
        while len(self._kept) > self.limits.kept:
            self._kept.popitem(last=False)
        return self._kept[key]

    def get(self, key: str) -> Picture:
        """The image of an upload before.

        Raises:
            Refused: if it is here no more.
        """
        if key not in self._kept:
            raise Refused(
                404, 'unknown_image',
                f'image {key[:40]} is not here (any more), the last {self.limits.kept} '
                'are kept; upload it again',
            )  # fmt: skip
        self._kept.move_to_end(key)
        return self._kept[key]


def as_file(image: Image.Image) -> bytes:
    """JPEG for a browser that cannot show the upload, or shows it in another size."""
    file = BytesIO()
    image.save(file, 'JPEG', quality=92)
    return file.getvalue()
