"""Loading of images, the same way throughout the package: upright, 8-bit RGB.

Readers differ in the EXIF orientations that they apply. OpenCV 4.12, and so
MMDetection's ``LoadImageFromFile``, applies that of JPEG, PNG and TIFF and ignores that
of WebP and AVIF; Pillow and browsers apply them all, as this reader does.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO, TypeGuard, Union, cast

import numpy as np
from PIL import Image, UnidentifiedImageError

from fgclip2_det.io import InputError
from fgclip2_det.io.text import kind_of

if TYPE_CHECKING:
    from torch import Tensor

# a string: images are read without PyTorch, too
ImageLike = Union[str, os.PathLike, Image.Image, np.ndarray, 'Tensor']
Size = tuple[int, int]

# Formats that are opened: pixels alone. Others name files, are pages to be drawn, or
# make Pillow start a program, as PostScript does (EPS), whatever the file is called.
RASTER = (
    'AVIF', 'BLP', 'BMP', 'CUR', 'DCX', 'DDS', 'DIB', 'FLI', 'FTEX', 'GIF',
    'HEIF', 'ICNS', 'ICO', 'IM', 'JPEG', 'JPEG2000', 'JXL', 'MPO', 'MSP', 'PCD', 'PCX',
    'PIXAR', 'PNG', 'PPM', 'PSD', 'QOI', 'SGI', 'SPIDER', 'SUN', 'TGA', 'TIFF', 'WEBP',
    'XBM', 'XPM',
)  # fmt: skip
# Pillow's own limit; stays when a library takes that away for the whole process, as
# SAHI 0.12's reader does with every image
MAX_PIXELS = 178_956_970
TURNED_BY_OPENCV = ('JPEG', 'MPO', 'PNG', 'TIFF')
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BACK = _TURNS | {6: _TURNS[8], 8: _TURNS[6]}  # the others are their own inverse
_ON_ITS_SIDE = (5, 6, 7, 8)  # width and height are swapped


@dataclass(frozen=True)
class ImageHeader:
    """Metadata of an image file, read without decoding the pixels.

    Attributes:
        upright: (width, height) in pixels, after applying the orientation.
        stored: (width, height) as the pixels lie in the file.
        orientation: 1 to 8, as EXIF numbers them; 1 is upright.
        format: Pillow's name, such as 'JPEG'.
    """

    upright: Size
    stored: Size
    orientation: int
    format: str | None


def load_image(image: ImageLike) -> Image.Image:
    """Upright 8-bit RGB image.

    The EXIF orientation is applied; no other EXIF entry is read. Transparency is
    dropped, not blended, as in the released processor. 16-bit and float images are
    scaled, where PIL would clip: ``I`` and ``I;16`` from 0-65535; ``F`` from 0-1, or
    from 0-255 if it exceeds 1.

    Args:
        image: a path, a PIL image, an (h, w, 3) RGB or (h, w) grey uint8 array,
            or a (3, h, w) uint8 tensor.

    Raises:
        InputError: if the image is missing, damaged, empty, of a format that is not in
            :data:`RASTER`, larger than PIL's limit on pixels
            (:data:`MAX_PIXELS` where PIL has none), or of another type or
            shape.
    """
    if _is_path(image):
        with open_image(image) as opened:
            return upright(opened, own=True)
    with _named('image'):
        if isinstance(image, Image.Image):
            return upright(image)
        pixels = cast('np.ndarray | Tensor', image)  # _to_array checks the type
        return Image.fromarray(_to_array(pixels)).convert('RGB')


def read_header(path: str | os.PathLike) -> ImageHeader:
    """Sizes and orientation of an image file; its pixels are not decoded.

    Raises:
        InputError: naming the file, if it cannot be read.
    """
    with open_image(path) as image:
        turn = orientation(image)
        stored = image.size
        tags = getattr(image, 'tag_v2', None)
        if tags is not None:  # newer Pillow versions return a TIFF's upright size
            stored = tags[256], tags[257]
        width, height = stored
        turned = (height, width) if turn in _ON_ITS_SIDE else stored
        return ImageHeader(turned, stored, turn, image.format)


@contextmanager
def open_image(
    source: str | os.PathLike | bytes, kind: str = 'image'
) -> Iterator[Image.Image]:
    """Open an image with Pillow, as stored in the file, without decoding it.

    For uses that :func:`load_image` does not cover: a header, a draft, a label map.

    Args:
        source: a path, or the bytes of a file.
        kind: noun for error messages.

    Raises:
        InputError: naming the file, for any error of opening or, inside the ``with``
            block, of decoding; decoders raise nearly all types of exceptions.
    """
    name = f'{kind} {os.fspath(source)}' if _is_path(source) else kind
    with (  # not by its path, see _is_mapped
        _named(name),
        _file(source) as file,
        _open(file) as image,
    ):
        yield image


def image_endings() -> set[str]:
    """Endings of the files that may be images, such as '.jpg'."""
    known = Image.registered_extensions()
    return {ending for ending, kind in known.items() if kind in RASTER}


def _file(source: str | os.PathLike | bytes) -> BinaryIO:
    if not _is_path(source):
        return BytesIO(cast(bytes, source))
    if kind := kind_of(os.stat(source).st_mode):  # before it is opened, see there
        raise InputError(f'it is {kind}, expected a file')
    return open(source, 'rb')


def _open(file: BinaryIO) -> Image.Image:
    """An image of one of the formats :data:`RASTER`."""
    try:  # Pillow's common formats are there, the others are slow to import
        image = _open_as(file)
    except UnidentifiedImageError:
        Image.init()
        file.seek(0)
        image = _open_as(file)
    width, height = image.size
    if Image.MAX_IMAGE_PIXELS is None and width * height > MAX_PIXELS:
        raise Image.DecompressionBombError(
            f'{width} x {height} pixels are more than {MAX_PIXELS:,}'
        )
    return image


def _open_as(file: BinaryIO) -> Image.Image:
    Image.preinit()
    return Image.open(file, formats=[name for name in RASTER if name in Image.OPEN])


def upright(image: Image.Image, own: bool = False) -> Image.Image:
    """8-bit RGB version of an opened image, with its EXIF orientation applied.

    Args:
        image: is left as it is.
        own: the caller does not need it any more; a JPEG that is RGB already will be
            returned itself instead of a copy.
    """
    if image.format is not None and image.format not in RASTER:
        raise InputError(f'its format is {image.format}; give a JPEG or PNG file')
    turn = orientation(image)
    if _is_mapped(image, turn):
        with open_image(getattr(image, 'filename', '')) as again:
            return upright(again, own=True)
    image.load()
    tags = getattr(image, 'tag_v2', None)
    if tags is not None and _ORIENTATION not in tags:
        turn = 1  # Pillow rotates a TIFF itself when it is loaded
    # a JPEG's orientation is in ``info`` alone, a TIFF's is not
    if not (own and image.mode == 'RGB' and image.format == 'JPEG'):
        image = _to_rgb(image)
    image.info = {}  # otherwise the orientation could be applied twice
    return image.transpose(_TURNS[turn]) if turn in _TURNS else image


def as_stored(image: Image.Image, turn: int) -> Image.Image:
    """Undo the effect of :func:`upright` on an image of that orientation."""
    return image.transpose(_BACK[turn]) if turn in _BACK else image


def orientation(image: Image.Image) -> int:
    """EXIF orientation of an opened image, 1 to 8; 1 if it has none.

    ``Image.getexif`` is not used: it also reads XMP, which no other reader applies, and
    raises for a damaged block.
    """
    tags = getattr(image, 'tag_v2', None)
    if tags is not None:
        value = tags.get(_ORIENTATION)
    else:
        value = _exif_orientation(image.info.get('exif'))
    return int(value) if value in tuple(_TURNS) else 1


def describe_sizes(
    header: ImageHeader,
    annotated: tuple[float, float] | None = None,
    detector: tuple[float, float] | None = None,
) -> str:
    """Message that lists sizes which should be equal, and explains the difference.

    Args:
        header: of the file.
        annotated: (width, height) of the annotation file.
        detector: (width, height) of the image that the detector was given.
    """
    given = {'the annotation file says': annotated, 'the detector saw': detector}
    others = {words: size for words, size in given.items() if size}
    text = f'the image has {_times(header.upright)} pixels'
    if header.orientation != 1:
        text += (
            f' upright ({_times(header.stored)} in the file, which EXIF orientation '
            f'{header.orientation} turns)'
        )
    for words, size in others.items():
        text += f', {words} {_times(size)}'
    turned = header.upright[::-1]
    if turned != header.upright and turned in others.values():
        text += '; with width and height swapped, as without the EXIF orientation'
    return text


def _exif_orientation(block: object) -> int | None:
    """Orientation of an EXIF block, None if it has none.

    Only that entry is read, so others may have any type, be truncated or wrong. Its
    value is the first 16 bits whatever its type, as in OpenCV's reader.

    Reference: Exif 2.3, section 4.6.2; TIFF 6.0, section 2.
    """
    block = block.removeprefix(b'Exif\0\0') if isinstance(block, bytes) else b''
    order = {b'II*\0': '<', b'MM\0*': '>'}.get(block[:4])
    if order is None or len(block) < 10:
        return None
    (start,) = struct.unpack_from(f'{order}I', block, 4)
    if start + 2 > len(block):
        return None
    (count,) = struct.unpack_from(f'{order}H', block, start)
    end = min(start + 2 + 12 * count, len(block) - 9)
    for place in range(start + 2, end, 12):
        tag, _, _, value = struct.unpack_from(f'{order}HHIH', block, place)
        if tag == _ORIENTATION:
            return value
    return None


def _is_mapped(image: Image.Image, turn: int) -> bool:
    """Whether it is a rotated TIFF that was opened by its path and is not loaded yet.

    Pillow 11 to 13 map an uncompressed one into memory with width and height swapped,
    which scrambles the pixels; opened as a file object it is read correctly.
    """
    on_its_side = hasattr(image, 'tag_v2') and turn in _ON_ITS_SIDE
    return on_its_side and bool(getattr(image, 'filename', '')) and image.tell() == 0


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Convert errors of an image to an InputError with its name."""
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(
            f'{name} is too large: {error}; set PIL.Image.MAX_IMAGE_PIXELS to a higher '
            'number if you trust it'
        ) from error
    except UnidentifiedImageError as error:
        raise InputError(f'{name} cannot be read: its format is not known') from error
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise InputError(f'{name} cannot be read: {reason}') from error


def _times(size: tuple[float, float]) -> str:
    return f'{size[0]:g} x {size[1]:g}'


def _is_path(image: object) -> TypeGuard[str | os.PathLike]:
    return isinstance(image, str | os.PathLike)


def _to_array(image: np.ndarray | Tensor) -> np.ndarray:
    """(h, w, 3) or (h, w) uint8 array of an array or a (3, h, w) tensor."""
    kind = type(image).__name__
    is_tensor = _is_tensor(image)
    if not (is_tensor or isinstance(image, np.ndarray)):
        raise InputError(f'expected a path, PIL image, array or tensor, got {kind}')
    if str(image.dtype).removeprefix('torch.') != 'uint8':
        raise InputError(f'expected uint8 values of 0-255, got {image.dtype}')
    if is_tensor:
        if image.ndim != 3 or len(image) != 3:
            raise InputError(f'a tensor must be (3, h, w), got {tuple(image.shape)}')
        image = cast(Any, image).permute(1, 2, 0).cpu().numpy()
    if image.shape[2:] not in ((), (3,)) or image.ndim < 2 or image.size == 0:
        raise InputError(f'an array must be (h, w, 3) or (h, w), got {image.shape}')
    return cast(np.ndarray, image)


def _is_tensor(image: object) -> bool:
    torch = sys.modules.get('torch')  # without it there are no tensors
    return torch is not None and isinstance(image, torch.Tensor)


def _to_rgb(image: Image.Image) -> Image.Image:
    if 0 in image.size:
        raise InputError(f'it has {image.width} x {image.height} pixels')
    if image.mode == 'F' or image.mode.startswith('I'):
        image = _to_8_bit(image)
    elif image.mode == 'P' and 'transparency' in image.info:
        image = image.convert('RGBA')  # PIL warns about the direct way
    return image.convert('RGB')


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Grey 8-bit image of a 16-bit integer or a float one."""
    values = np.asarray(image)
    limit = 65535 if image.mode != 'F' else 1 if values.max() <= 1 else 255
    if not (values.min() >= 0 and values.max() <= limit):  # also NaN
        raise InputError(
            f'mode {image.mode} holds {values.min()} to {values.max()}, 0 to {limit} '
            'is the range; scale it to 8 bit first'
        )
    return Image.fromarray((values * (255 / limit)).round().astype(np.uint8))
