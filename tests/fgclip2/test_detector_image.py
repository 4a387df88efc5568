"""An image in the frame that a detector saw, whichever reader its pipeline had."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, features

from fgclip2_det.fgclip2.detector_image import detector_image
from fgclip2_det.fgclip2.image import load_image

CASES = Path(__file__).resolve().parents[1] / 'data' / 'cases'


def scene(width: int, height: int) -> Image.Image:
    """Soft spots, another one in every corner."""
    y, x = np.mgrid[:height, :width] / max(width, height)
    waves = [np.sin(5 * x + 2 * y), np.cos(9 * y - x), np.sin(4 * x * y + 1)]
    return Image.fromarray((np.stack(waves, -1) * 100 + 128).astype(np.uint8))


def save(path: Path, size: tuple[int, int], orientation: int) -> str:
    form = path.suffix[1:].upper()
    if form == 'AVIF' and not features.check('avif'):
        pytest.skip('this Pillow reads no AVIF')
    exif, buffer = Image.Exif(), BytesIO()
    exif[0x112] = orientation
    scene(*size).save(buffer, form, exif=exif, quality=95)
    path.write_bytes(buffer.getvalue())
    return str(path)


def network_input(array: np.ndarray, height: int = 96) -> tuple[torch.Tensor, dict]:
    """(3, H, W), BGR, normalised and padded; what the pipeline says of it."""
    shape, factor = array.shape[:2], height / array.shape[0]
    pixels = torch.from_numpy(array[..., ::-1].copy()).permute(2, 0, 1).float()
    size = [round(side * factor) for side in shape]
    pixels = F.interpolate(pixels[None], size, mode='bilinear')[0]
    pixels = F.pad((pixels - 120) / 58, (0, 13, 0, 21), value=float('nan'))
    return pixels, dict(
        ori_shape=shape, img_shape=tuple(size), scale_factor=(factor, factor)
    )


def is_near(one: Image.Image, other: np.ndarray) -> bool:
    one = np.asarray(one).astype(int)
    return one.shape == other.shape and abs(one - other).mean() < 6


@pytest.mark.parametrize('suffix', ['jpeg', 'webp', 'avif', 'png', 'tiff'])
@pytest.mark.parametrize('size', [(64, 64), (64, 48)])
@pytest.mark.parametrize('orientation', [2, 3, 4, 5, 6, 7, 8])
def test_as_the_detector_saw_it(suffix, size, orientation, tmp_path):
    """Turned and not turned: by size where it tells, else by the network's input."""
    path = save(tmp_path / f'a.{suffix}', size, orientation)
    upright, stored = np.asarray(load_image(path)), np.asarray(scene(*size))
    for seen in (upright, stored):
        inputs, meta = network_input(seen)
        actual = detector_image(dict(meta, img_path=path), inputs)
        assert is_near(actual, seen)
    for name, axis in (('horizontal', 1), ('vertical', 0), ('diagonal', (0, 1))):
        flipped = np.flip(stored, axis)
        inputs, meta = network_input(flipped)
        meta |= dict(img_path=path, flip=True, flip_direction=name)
        assert is_near(detector_image(meta, inputs), flipped)


def test_an_image_without_orientation_needs_no_input(tmp_path):
    scene(64, 48).save(tmp_path / 'a.png')
    meta = dict(img_path=str(tmp_path / 'a.png'))
    for more in ({}, dict(ori_shape=(48, 64)), dict(ori_shape=(48, 64, 3))):
        assert detector_image(meta | more).size == (64, 48)


def test_where_nothing_tells(tmp_path):
    """OpenCV and Pillow agree on a JPEG; on a WebP upside down they do not."""
    meta = dict(ori_shape=(64, 64))
    path = save(tmp_path / 'a.jpeg', (64, 64), 3)
    actual = detector_image(dict(meta, img_path=path), torch.zeros(3, 64, 64))
    assert is_near(actual, np.asarray(load_image(path)))
    path = save(tmp_path / 'a.webp', (64, 64), 3)
    for inputs in (None, torch.zeros(3, 64, 64)):
        with pytest.raises(ValueError, match=r'a\.webp: .*save it upright'):
            detector_image(dict(meta, img_path=path), inputs)


def test_another_size_is_a_sentence(tmp_path):
    path = save(tmp_path / 'a.jpeg', (64, 48), 6)
    match = (
        r'a\.jpeg: the image has 48 x 64 pixels upright \(64 x 48 in the file, which '
        r'EXIF orientation 6 turns\), the detector saw 32 x 24'
    )
    with pytest.raises(ValueError, match=match):
        detector_image(dict(img_path=path, ori_shape=(24, 32)))
    with pytest.raises(ValueError, match='no img_path'):
        detector_image(dict(ori_shape=(24, 32)))
