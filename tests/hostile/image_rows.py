"""Image files and images in memory."""

from __future__ import annotations

import os
import struct
import zlib
from io import BytesIO
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image, ImageFile

from fgclip2_det.fgclip2.image import load_image, read_header
from tests.hostile.rows import Row, table

SIZE = (12, 8)


def encoded(format: str, mode: str = 'RGB', size=SIZE, **options) -> bytes:
    """An image file's bytes."""
    buffer = BytesIO()
    image = Image.new(mode, size)
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth=8, colour=2, data=b'', extra=b'') -> bytes:
    """A PNG file whose header says what it likes."""

    def chunk(name: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(name + content)
        return struct.pack('>I', len(content)) + name + content + struct.pack('>I', crc)

    head = struct.pack('>IIBBBBB', width, height, depth, colour, 0, 0, 0)
    body = chunk(b'IDAT', zlib.compress(data))
    start = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head)
    return start + extra + body + chunk(b'IEND', b'')


def _text_chunk() -> bytes:
    """A comment that unpacks to 80 MB."""
    content = b'Comment\0\0' + zlib.compress(b'x' * 80_000_000, 9)
    crc = zlib.crc32(b'zTXt' + content)
    return struct.pack('>I', len(content)) + b'zTXt' + content + struct.pack('>I', crc)


def _bmp(width: int, height: int) -> bytes:
    data = bytearray(encoded('BMP'))
    data[18:26] = struct.pack('<ii', width, height)
    return bytes(data)


def _read(folder: Path, data: bytes, name: str = 'a.png') -> object:
    (folder / name).write_bytes(data)
    return load_image(folder / name)


def _named(folder: Path, given: tuple[str, bytes]) -> object:
    return _read(folder, given[1], given[0])


def _truncated(format: str, share: float, **options) -> bytes:
    # noise: a plain image is shorter than what decoders read at once
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format, **options)
    data = buffer.getvalue()
    return data[: int(len(data) * share)]


def _scrambled(format: str, start: int) -> bytes:
    data = bytearray(encoded(format, size=(64, 48)))
    data[start : start + 24] = b'\xff' * len(data[start : start + 24])
    return bytes(data)


_BOX = b'%%BoundingBox: 0 0 10 10\n%%EndComments\n'
POSTSCRIPT = b'%!PS-Adobe-3.0 EPSF-3.0\n' + _BOX + b'showpage\n'
DOS_EPS = struct.pack('<IIIIIIIH', 0xC6D3D0C5, 32, len(POSTSCRIPT), 0, 0, 0, 0, 0xFFFF)
PDF = b'%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n'
WMF = b'\xd7\xcd\xc6\x9a\0\0' + bytes(40)
EMF = struct.pack('<II', 1, 108) + bytes(32) + b' EMF' + bytes(64)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
UNREADABLE = 'cannot be read'

FILES = {
    'empty': (b'', UNREADABLE),
    'text': (b'hello', 'its format is not known'),
    'web page': (b'<!DOCTYPE html><html>not found</html>', 'its format is not known'),
    'zeros': (bytes(4096), UNREADABLE),
    'random bytes': (np.random.default_rng(1).bytes(4096), UNREADABLE),
    'git lfs pointer': (b'version https://git-lfs.github.com/spec/v1\n', UNREADABLE),
    'zip archive': (b'PK\x03\x04' + bytes(40), UNREADABLE),
    'gzip of a png': (b'\x1f\x8b\x08\0' + bytes(40), UNREADABLE),
    'pickle': (b'\x80\x04\x95\x05\0\0\0\0\0\0\0]\x94.', UNREADABLE),
    'mp4': (b'\0\0\0\x18ftypmp42' + bytes(40), UNREADABLE),
    'postscript': (POSTSCRIPT, UNREADABLE),
    'postscript with a dos header': (DOS_EPS + POSTSCRIPT, UNREADABLE),
    'pdf': (PDF, UNREADABLE),
    'windows metafile': (WMF, UNREADABLE),
    'enhanced metafile': (EMF, UNREADABLE),
    'svg': (SVG, UNREADABLE),
    'png: signature alone': (b'\x89PNG\r\n\x1a\n', UNREADABLE),
    'png: no data': (png(12, 8), UNREADABLE),
    'png: width 0': (png(0, 8), UNREADABLE),
    'png: height 0': (png(12, 0), UNREADABLE),
    'png: 60000 x 60000': (png(60_000, 60_000), 'too large'),
    'png: 2 ** 31 - 1 wide': (png(2**31 - 1, 1), 'too large'),
    'png: 2 ** 31 - 1 each way': (png(2**31 - 1, 2**31 - 1), 'too large'),
    'png: depth 7': (png(12, 8, depth=7), UNREADABLE),
    'png: colour type 9': (png(12, 8, colour=9), UNREADABLE),
    'png: palette without colours': (png(12, 8, colour=3), UNREADABLE),
    'png: comment of 80 MB': (png(12, 8, extra=_text_chunk()), UNREADABLE),
    'png: half': (_truncated('PNG', 0.5), UNREADABLE),
    'jpeg: half': (_truncated('JPEG', 0.5), UNREADABLE),
    'jpeg: header alone': (_truncated('JPEG', 0.02), UNREADABLE),
    'jpeg: start mark alone': (b'\xff\xd8', UNREADABLE),
    'jpeg: two marks': (b'\xff\xd8\xff\xd9', UNREADABLE),
    'webp: half': (_truncated('WEBP', 0.5), UNREADABLE),
    'webp: header alone': (b'RIFF\x10\0\0\0WEBPVP8 ', UNREADABLE),
    'gif: header alone': (b'GIF89a\x0c\0\x08\0\0\0\0', UNREADABLE),
    'gif: half': (_truncated('GIF', 0.5), UNREADABLE),
    'bmp: half': (_truncated('BMP', 0.5), UNREADABLE),
    'bmp: width 0': (_bmp(0, 8), UNREADABLE),
    'bmp: a million pixels wide, no data': (_bmp(1_000_000, 100), UNREADABLE),
    'bmp: 2 ** 31 - 1 each way': (_bmp(2**31 - 1, 2**31 - 1), 'too large'),
    'tiff: half': (_truncated('TIFF', 0.5), UNREADABLE),
    'tiff: no directory': (b'II*\0\x08\0\0\0\0\0\0\0\0\0', UNREADABLE),
    'tiff: directory outside': (b'II*\0\xff\xff\xff\x7f', UNREADABLE),
    'tiff: lzw half': (_truncated('TIFF', 0.5, compression='tiff_lzw'), UNREADABLE),
    'ppm: huge': (b'P6 4000000000 4000000000 255\n', 'too large'),
    'ppm: no size': (b'P6\n', UNREADABLE),
    'ppm: letters for numbers': (b'P6 a b 255\n', UNREADABLE),
    'ppm: half': (b'P6 12 8 255\n' + bytes(30), UNREADABLE),
    'ico: half': (_truncated('ICO', 0.3), UNREADABLE),
    'icns: half': (_truncated('ICNS', 0.1), UNREADABLE),
    'tga: half': (_truncated('TGA', 0.5), UNREADABLE),
    'dds: half': (_truncated('DDS', 0.5), UNREADABLE),
    'dds: header alone': (encoded('DDS')[:128], UNREADABLE),
    'dds: scrambled': (_scrambled('DDS', 76), UNREADABLE),
    'jpeg 2000: half': (_truncated('JPEG2000', 0.3), UNREADABLE),
    'jpeg 2000: scrambled': (_scrambled('JPEG2000', 90), UNREADABLE),
    'sgi: half': (_truncated('SGI', 0.5), UNREADABLE),
    'pcx: half': (_truncated('PCX', 0.5), UNREADABLE),
    'psd: header alone': (b'8BPS\0\x01' + bytes(20), UNREADABLE),
    'qoi: header alone': (b'qoif\0\0\0\x0c\0\0\0\x08\x03\0', UNREADABLE),
    'fli: zeros': (bytes(4) + b'\x11\xaf' + bytes(122), UNREADABLE),
}  # fmt: skip
NAMES = {
    'postscript called jpg': (('a.jpg', POSTSCRIPT), ('a.jpg', UNREADABLE)),
    'postscript called eps': (('a.eps', POSTSCRIPT), ('a.eps', UNREADABLE)),
    'postscript called ai': (('a.ai', POSTSCRIPT), ('a.ai', UNREADABLE)),
    'png called eps': (('a.eps', encoded('PNG')), None),
    'jpeg called png': (('a.png', encoded('JPEG')), None),
    'png without an ending': (('a', encoded('PNG')), None),
    'name with spaces and dots': (('a b..c.png', encoded('PNG')), None),
    'name in chinese': (('图片.png', encoded('PNG')), None),
    'name with a brace and a star': (('{a}*.png', encoded('PNG')), None),
    'bad png, name with a line break': (('a\nb.png', b''), UNREADABLE),
}
FINE = {
    'png: 1 x 1': ((1, 1), 'RGB', 'PNG'),
    'png: 1 x 4000': ((1, 4000), 'RGB', 'PNG'),
    'png: one bit': (SIZE, '1', 'PNG'),
    'png: grey': (SIZE, 'L', 'PNG'),
    'png: grey with alpha': (SIZE, 'LA', 'PNG'),
    'png: palette': (SIZE, 'P', 'PNG'),
    'png: rgba': (SIZE, 'RGBA', 'PNG'),
    'png: 16 bit': (SIZE, 'I;16', 'PNG'),
    'jpeg: cmyk': (SIZE, 'CMYK', 'JPEG'),
    'tiff: float': (SIZE, 'F', 'TIFF'),
    'tiff: lab': (SIZE, 'LAB', 'TIFF'),
    'webp': (SIZE, 'RGBA', 'WEBP'),
    'gif': (SIZE, 'P', 'GIF'),
    'bmp': (SIZE, 'RGB', 'BMP'),
    'ppm': (SIZE, 'RGB', 'PPM'),
    'tga': (SIZE, 'RGBA', 'TGA'),
    'dds': (SIZE, 'RGB', 'DDS'),
    'jpeg 2000': (SIZE, 'RGB', 'JPEG2000'),
    'avif': (SIZE, 'RGB', 'AVIF'),
    'ico': ((16, 16), 'RGBA', 'ICO'),
}


def _fine(folder: Path, given: tuple) -> None:
    size, mode, format = given
    image = _read(folder, encoded(format, mode, size))
    assert image.mode == 'RGB' and image.size == size


def _at(folder: Path, make) -> object:
    path = folder / 'a.png'
    return load_image(make(path) or path)


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _link_to_png(path: Path) -> None:
    path.with_name('b.png').write_bytes(encoded('PNG'))
    path.symlink_to('b.png')


NOT_FILES = {
    'missing': (lambda path: None, 'a.png'),
    'folder': (Path.mkdir, 'a.png'),
    'named pipe': (os.mkfifo, ('a.png', 'pipe')),
    'device without end': (lambda path: path.symlink_to('/dev/zero'), ('a.png',)),
    'device without content': (lambda path: path.symlink_to('/dev/null'), ('a.png',)),
    'link to nothing': (lambda path: path.symlink_to('gone'), 'a.png'),
    'link to itself': (_loop, 'a.png'),
    'link to a png': (_link_to_png, None),
    'null in the name': (lambda path: f'{path}\0.png', UNREADABLE),
    'name of 5000 letters': (lambda path: 'x' * 5000 + '.png', UNREADABLE),
    'no name': (lambda path: '', 'image'),
    'half a surrogate pair in the name': (lambda path: '\ud800.png', UNREADABLE),
}


class _Sick(ImageFile.ImageFile):
    """A plug-in whose decoder raises what plug-ins raise."""


def _sick(folder: Path, error: BaseException) -> object:
    def load(self):
        raise error

    (folder / 'a.png').write_bytes(encoded('PNG'))
    with patch.object(ImageFile.ImageFile, 'load', load):
        return load_image(folder / 'a.png')


def _sick_header(folder: Path, error: BaseException) -> object:
    def open_(*args, **kwargs):
        raise error

    (folder / 'a.png').write_bytes(encoded('PNG'))
    with patch.object(Image, 'open', open_):
        return read_header(folder / 'a.png')


_RAISED = (
    RuntimeError('codec'), NotImplementedError('mode'), MemoryError(), SyntaxError('x'),
    IndexError('index'), KeyError('tag'), struct.error('short'), EOFError(),
    ZeroDivisionError(), OverflowError('size'), AttributeError('fp'), TypeError('None'),
    AssertionError(), RecursionError('deep'), UnicodeDecodeError('a', b'', 0, 1, 'x'),
)  # fmt: skip
DECODERS = {f'decoder raises {type(e).__name__}': (e, 'a.png') for e in _RAISED}
HEADERS = {f'opening raises {type(e).__name__}': (e, 'a.png') for e in _RAISED[:8]}

_GREY = np.zeros((8, 12), np.uint8)
RGB = np.zeros((8, 12, 3), np.uint8)
MEMORY = {
    'none': (None, 'got NoneType'),
    'number': (3, 'got int'),
    'list of numbers': ([1, 2], 'got list'),
    'bytes': (b'\x89PNG', 'got bytes'),
    'dict': ({}, 'got dict'),
    'array: float': (RGB / 2, 'uint8'),
    'array: int64': (RGB.astype(int), 'uint8'),
    'array: bool': (RGB > 0, 'uint8'),
    'array: complex': (RGB * 1j, 'uint8'),
    'array: objects': (np.array([None]), 'uint8'),
    'array: one number': (np.array(3, np.uint8), 'must be (h, w'),
    'array: row': (RGB.ravel(), 'must be (h, w'),
    'array: 4 channels': (np.zeros((8, 12, 4), np.uint8), '(h, w, 3)'),
    'array: 1 channel': (np.zeros((8, 12, 1), np.uint8), '(h, w, 3)'),
    'array: batch': (RGB[None], '(h, w, 3)'),
    'array: height 0': (RGB[:0], '(h, w, 3)'),
    'array: width 0': (RGB[:, :0], '(h, w, 3)'),
    'array: grey': (_GREY, None),
    'array: rgb': (RGB, None),
    'array: strides': (RGB[::-1, ::2], None),
    'array: read-only': (np.broadcast_to(np.uint8(3), (8, 12, 3)), None),
    'tensor: float': (torch.zeros(3, 8, 12), 'uint8'),
    'tensor: channels last': (torch.zeros(8, 12, 3, dtype=torch.uint8), '(3, h, w)'),
    'tensor: batch': (torch.zeros(1, 3, 8, 12, dtype=torch.uint8), '(3, h, w)'),
    'tensor: on meta': (
        torch.zeros(3, 8, 12, dtype=torch.uint8, device='meta'), 'image',
    ),
    'tensor: height 0': (torch.zeros(3, 0, 12, dtype=torch.uint8), '(h, w, 3)'),
    'tensor: rgb': (torch.zeros(3, 8, 12, dtype=torch.uint8), None),
    'pil: width 0': (Image.new('RGB', (0, 8)), '0 x 8'),
    'pil: float beyond 255': (Image.new('F', SIZE, 1e9), 'is the range'),
    'pil: float nan': (Image.new('F', SIZE, float('nan')), 'is the range'),
    'pil: int below 0': (Image.new('I', SIZE, -5), 'is the range'),
    'pil: int beyond 16 bit': (Image.new('I', SIZE, 70_000), 'is the range'),
    'pil: hsv': (Image.new('HSV', SIZE), None),
    'pil: ycbcr': (Image.new('YCbCr', SIZE), None),
    'pil: pa': (Image.new('PA', SIZE), None),
}  # fmt: skip


ROWS: list[Row] = [
    *table('image', _read, FILES, 'a.png'),
    *table('image', _named, NAMES),
    *table('image', _fine, {name: (given, None) for name, given in FINE.items()}),
    *table('image', _at, NOT_FILES),
    *table('image', _sick, DECODERS),
    *table('image', _sick_header, HEADERS),
    *table('image', lambda folder, image: load_image(image), MEMORY),
]
