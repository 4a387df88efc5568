"""One reader of images, against what OpenCV and Pillow make of the same files."""

import pickle
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, features

from fgclip2_det.fgclip2.image import (
    ImageHeader,
    as_stored,
    describe_sizes,
    load_image,
    open_image,
    read_header,
    upright,
)

cv2 = pytest.importorskip('cv2', reason='compares with OpenCV')

CASES = Path(__file__).resolve().parents[1] / 'data' / 'cases'
FORMATS = ['JPEG', 'PNG', 'TIFF', 'WEBP', 'AVIF', 'MPO']
LOSSLESS = {'WEBP': dict(lossless=True)}
ORIENTATION, MAKE, X_RESOLUTION = 0x112, 0x10F, 0x11A
SHORT, LONG, RATIONAL, ASCII = 3, 4, 5, 2


def scene() -> Image.Image:
    """64 x 48 pixels: four colours, so that no turn gives the same image."""
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:24, :32], pixels[:24, 32:] = (220, 20, 20), (20, 220, 20)
    pixels[24:, :32], pixels[24:, 32:] = (20, 20, 220), (220, 220, 20)
    return Image.fromarray(pixels)


def encode(image: Image.Image, form: str, **options) -> bytes:
    if form == 'AVIF' and not features.check('avif'):
        pytest.skip('this Pillow reads no AVIF')
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def turned(orientation: int, form: str, image: Image.Image | None = None) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = image or scene()
    return encode(image, form, exif=exif, **LOSSLESS.get(form, {}))


def by_opencv(data: bytes) -> np.ndarray:
    """(h, w, 3) RGB, as MMDetection's LoadImageFromFile reads a file."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def by_pillow(data: bytes) -> np.ndarray:
    with Image.open(BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert('RGB'))


def load(path: Path, data: bytes) -> np.ndarray:
    path.write_bytes(data)
    return np.asarray(load_image(path))


def is_near(one: np.ndarray, other: np.ndarray, atol: int = 3) -> bool:
    """Away from the edges between the colours, where codecs blur."""
    return one.shape == other.shape and bool(
        (abs(one.astype(int) - other)[6:18, 6:18] <= atol).all()
    )


@pytest.mark.parametrize('form', FORMATS)
def test_every_orientation_of_every_format(form, tmp_path):
    for orientation in range(1, 9):
        data = turned(orientation, form)
        path = tmp_path / f'{orientation}.bin'
        actual = load(path, data)
        assert np.array_equal(actual, by_pillow(data)), orientation
        again = load_image(load_image(path))  # is not turned twice, here or elsewhere
        assert np.array_equal(ImageOps.exif_transpose(again), actual)
        header = read_header(path)
        assert header.upright == actual.shape[1::-1]
        assert (header.stored, header.orientation) == ((64, 48), orientation)
        back = np.asarray(as_stored(Image.fromarray(actual), orientation))
        assert is_near(back, np.asarray(scene()), 12)
        if form in ('WEBP', 'AVIF'):  # which this OpenCV leaves as they lie
            continue
        assert is_near(actual, by_opencv(data)), orientation


@pytest.mark.parametrize('form', ['PNG', 'TIFF', 'WEBP', 'JPEG'])
@pytest.mark.parametrize('mode', ['1', 'L', 'P', 'LA', 'RGBA', 'CMYK', 'I;16'])
def test_modes_that_lie_on_their_side_are_what_opencv_reads(form, mode, tmp_path):
    image = scene().convert('L' if mode == 'I;16' else mode)
    if mode == 'I;16':
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    if (form, mode) == ('TIFF', 'RGBA'):
        image.putalpha(255)  # OpenCV multiplies a TIFF's colours by its transparency
    elif mode == 'RGBA':
        image.putalpha(scene().convert('L'))
    try:
        data = turned(6, form, image)
    except OSError:
        pytest.skip(f'{form} holds no {mode}')
    actual = load(tmp_path / 'a.bin', data)
    with Image.open(tmp_path / 'a.bin') as opened:
        assert np.array_equal(load_image(opened), actual)
    expected = by_opencv(data)
    if form == 'WEBP':
        expected = np.rot90(expected, -1)
    assert is_near(actual, expected), abs(actual.astype(int) - expected).max()


@pytest.mark.parametrize('orientation', [1, 6])
def test_palette_with_transparency(orientation, tmp_path, recwarn):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = scene().quantize(16)
    for transparency in (0, bytes(range(0, 256, 16))):
        data = encode(image, 'PNG', transparency=transparency, exif=exif)
        assert np.array_equal(load(tmp_path / 'a.png', data), by_opencv(data))
    assert not recwarn.list


# ------------------------------------------------------------------ odd EXIF blocks
def block(*entries: tuple, order: str = '<', count: int | None = None) -> bytes:
    """EXIF block of entries (tag, type, count, bytes of the value)."""
    start = 8 + 2 + 12 * len(entries) + 4
    head = b'II*\0' if order == '<' else b'MM\0*'
    head += struct.pack(f'{order}IH', 8, len(entries) if count is None else count)
    values = b''
    for tag, kind, number, value in entries:
        head += struct.pack(f'{order}HHI', tag, kind, number)
        if len(value) > 4:
            head += struct.pack(f'{order}I', start + len(values))
            values += value
        else:
            head += value.ljust(4, b'\0')
    return head + bytes(4) + values


def six(order: str) -> tuple:
    return ORIENTATION, SHORT, 1, struct.pack(f'{order}H', 6)


def odd_blocks(order: str) -> dict[str, bytes]:
    pair = struct.pack(f'{order}II', 72, 1)
    whole = block(six(order), (X_RESOLUTION, RATIONAL, 1, pair), order=order)
    return {
        'make as rational': block((MAKE, RATIONAL, 1, pair), six(order), order=order),
        'resolution as text': block(
            six(order), (X_RESOLUTION, ASCII, 3, b'72\0'), order=order
        ),
        'unknown type': block((MAKE, 99, 1, b'abcd'), six(order), order=order),
        'two values': block(
            (ORIENTATION, SHORT, 2, struct.pack(f'{order}HH', 6, 1)), order=order
        ),
        'orientation as byte': block((ORIENTATION, 1, 1, b'\6'), order=order),
        'orientation as text': block((ORIENTATION, ASCII, 2, b'6\0'), order=order),
        'orientation as long': block(
            (ORIENTATION, LONG, 1, struct.pack(f'{order}I', 6)), order=order
        ),
        'orientation 0': block((ORIENTATION, SHORT, 1, bytes(2)), order=order),
        'orientation 9': block(
            (ORIENTATION, SHORT, 1, struct.pack(f'{order}H', 9)), order=order
        ),
        'twice': block(
            six(order), (ORIENTATION, SHORT, 1, bytes(2)), order=order
        ),
        'more entries promised': block(six(order), order=order, count=500),
        'cut behind it': whole[:30],
        'cut in it': whole[:18],
        'only a head': whole[:8],
        'empty': b'',
        'no block': b'hello world',
        'start outside': whole[:4] + b'\xff' * 4 + whole[8:],
    }  # fmt: skip


def in_jpeg(data: bytes, exif: bytes) -> bytes:
    exif = b'Exif\0\0' + exif
    return data[:2] + b'\xff\xe1' + struct.pack('>H', len(exif) + 2) + exif + data[2:]


def in_png(data: bytes, exif: bytes) -> bytes:
    part, place = b'eXIf' + exif, data.index(b'IDAT') - 4
    check = struct.pack('>I', zlib.crc32(part))
    return data[:place] + struct.pack('>I', len(exif)) + part + check + data[place:]


@pytest.mark.parametrize('order', ['<', '>'])
@pytest.mark.parametrize(('form', 'put'), [('JPEG', in_jpeg), ('PNG', in_png)])
def test_odd_exif_blocks_are_read_as_opencv_reads_them(form, put, order, tmp_path):
    plain = encode(scene(), form)
    for name, exif in odd_blocks(order).items():
        data = put(plain, exif)
        actual = load(tmp_path / f'a.{form.lower()}', data)
        assert is_near(actual, by_opencv(data)), name
    turns = {'make as rational', 'resolution as text', 'more entries promised'}
    for name in turns:
        data = put(plain, odd_blocks(order)[name])
        assert load(tmp_path / 'b', data).shape == (64, 48, 3), name


@pytest.mark.parametrize('order', ['<', '>'])
def test_odd_exif_blocks_of_webp(order, tmp_path):
    for name, exif in odd_blocks(order).items():
        upright = load(tmp_path / 'a.jpg', in_jpeg(encode(scene(), 'JPEG'), exif))
        for prefix in (b'', b'Exif\0\0'):
            data = encode(scene(), 'WEBP', exif=prefix + exif, lossless=True)
            actual = load(tmp_path / 'a.webp', data)
            assert is_near(actual, upright, 12), name


@pytest.mark.parametrize('name', ['make_as_rational.jpg', 'xresolution_as_ascii.jpg'])
def test_one_tag_of_an_unusual_type(name):
    """Orientation 6; Pillow cannot write the rest of the block anew."""
    path = CASES / 'exif_odd_tag' / name
    with pytest.raises((AttributeError, TypeError)):
        by_pillow(path.read_bytes())
    assert load_image(path).size == (20, 40)
    assert is_near(np.asarray(load_image(path)), by_opencv(path.read_bytes()))


def test_xmp_alone_turns_nothing(tmp_path):
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    data = encode(scene(), 'JPEG', xmp=xmp)
    actual = load(tmp_path / 'a.jpg', data)
    assert actual.shape == by_opencv(data).shape == (48, 64, 3)


# ------------------------------------------------------------------ errors and words
@pytest.mark.parametrize('error', [AttributeError, KeyError, RuntimeError, IndexError,
                                   MemoryError, struct.error, zlib.error, OverflowError,
                                   AssertionError])  # fmt: skip
def test_whatever_a_decoder_raises_is_a_value_error(error, tmp_path, monkeypatch):
    path = tmp_path / 'a.png'
    path.write_bytes(encode(scene(), 'PNG'))

    def fail(*_):
        raise error

    monkeypatch.setattr(Image.Image, 'load', fail)
    monkeypatch.setattr('PIL.ImageFile.ImageFile.load', fail)
    with pytest.raises(ValueError, match=r'image .*a\.png cannot be read: .+'):
        load_image(path)


def test_errors_inside_the_block_name_the_file(tmp_path):
    path = tmp_path / 'a.png'
    path.write_bytes(encode(scene(), 'PNG'))
    match = r'^label map .*a\.png cannot be read: IndexError'
    with pytest.raises(ValueError, match=match), open_image(path, 'label map'):
        raise IndexError


def test_the_sizes_in_words():
    header = ImageHeader((240, 320), (320, 240), 6, 'WEBP')
    assert describe_sizes(header, (320, 240), (320, 240)) == (
        'the image has 240 x 320 pixels upright (320 x 240 in the file, which EXIF '
        'orientation 6 turns), the annotation file says 320 x 240, the detector saw '
        '320 x 240; with width and height swapped, as without the EXIF orientation'
    )
    header = ImageHeader((640, 480), (640, 480), 1, 'PNG')
    assert describe_sizes(header, (320.0, 240)) == (
        'the image has 640 x 480 pixels, the annotation file says 320 x 240'
    )
    square = ImageHeader((64, 64), (64, 64), 6, 'JPEG')
    assert 'exchanged' not in describe_sizes(square, (64, 64), (32, 32))


@pytest.mark.parametrize('turn', [1, 6])
@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'TIFF', 'WEBP'])
def test_an_image_that_is_nobody_elses_is_not_copied(tmp_path, kind, turn):
    """A JPEG is returned as it is; it is right once more, edited and pickled."""
    path = tmp_path / 'image'
    exif = Image.Exif()
    exif[0x112] = turn
    pixels = np.random.default_rng(0).integers(0, 256, (5, 9, 3), np.uint8)
    Image.fromarray(pixels).save(path, kind, exif=exif, lossless=True)
    with open_image(path) as opened:
        expected = upright(opened)
    own = load_image(path)
    assert own.size == ((9, 5) if turn == 1 else (5, 9))
    for again in (own, load_image(own), pickle.loads(pickle.dumps(own))):
        assert np.array_equal(np.asarray(again), np.asarray(expected))
    own.putpixel((0, 0), (1, 2, 3))
    assert load_image(own).getpixel((0, 0)) == (1, 2, 3)
