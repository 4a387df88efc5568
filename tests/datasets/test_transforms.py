"""Loading and resizing."""

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from PIL import Image

from fgclip2_det.datasets import (
    FGCLIP2Resize,
    OpenVocabLoadImage,
    UnreadableImageError,
)
from fgclip2_det.fgclip2.preprocess import preprocess
from fgclip2_det.prepare.yolo import read_size


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_image_is_loaded_as_bgr(tmp_path):
    pixels = noise(96, 160)
    Image.fromarray(pixels).save(tmp_path / 'a.png')
    results = OpenVocabLoadImage()({'img_path': str(tmp_path / 'a.png')})
    np.testing.assert_array_equal(results['img'], pixels[..., ::-1])
    assert results['img'].flags.c_contiguous
    assert results['img_shape'] == results['ori_shape'] == (96, 160)


@pytest.mark.parametrize('suffix', ['png', 'jpg'])
def test_truncated_image_is_an_error(tmp_path, suffix):
    """OpenCV would return the upper half and grey below it."""
    path = tmp_path / f'a.{suffix}'
    Image.fromarray(noise(96, 160)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableImageError, match=f'image id 7, .*{suffix}'):
        OpenVocabLoadImage()({'img_path': str(path), 'img_id': 7})


@pytest.mark.parametrize('error', [AttributeError, KeyError, RuntimeError])
def test_whatever_a_decoder_raises_is_an_unreadable_image(tmp_path, monkeypatch, error):
    """So that ``on_bad_image='skip'`` passes over it."""
    Image.fromarray(noise(96, 160)).save(tmp_path / 'a.png')

    def fail(*_):
        raise error

    monkeypatch.setattr('PIL.PngImagePlugin.PngImageFile.load_prepare', fail)
    with pytest.raises(UnreadableImageError, match=r'image id 7, .*a\.png'):
        OpenVocabLoadImage()({'img_path': str(tmp_path / 'a.png'), 'img_id': 7})


@pytest.mark.parametrize('form', ['jpeg', 'png', 'tiff', 'webp'])
def test_images_that_lie_on_their_side_are_turned(tmp_path, form):
    exif = Image.Exif()
    exif[0x112] = 6
    path = tmp_path / f'a.{form}'
    Image.fromarray(noise(96, 160)).convert('L').save(path, exif=exif)
    results = {'img_path': str(path), 'width': 96, 'height': 160}
    assert OpenVocabLoadImage()(results)['ori_shape'] == (160, 96)
    assert read_size(path) == (96, 160)  # of yolo-to-coco
    match = r'160 x 96 in the file, .* 6 turns\), the annotation file says 160 x 96;'
    with pytest.raises(ValueError, match=match):
        OpenVocabLoadImage()(results | {'width': 160, 'height': 96})


def test_size_must_be_the_annotated_one(tmp_path):
    Image.fromarray(noise(96, 160)).save(tmp_path / 'a.png')
    results = {'img_path': str(tmp_path / 'a.png'), 'width': 96, 'height': 160}
    with pytest.raises(ValueError, match=r'has 160 x 96 pixels, .* says 96 x 160'):
        OpenVocabLoadImage()(results)


def test_resize_gives_the_pixels_of_the_processor():
    """480 x 640 at 1024 patches is 27 x 36 patches, as in FG-CLIP 2's own table."""
    rgb = noise(480, 640)
    results = FGCLIP2Resize(1024)({'img': rgb[..., ::-1].copy()})
    assert results['img_shape'] == (27 * 16, 36 * 16)
    batch = preprocess(rgb, max_num_patches=1024)
    pixels = torch.from_numpy(results['img'][..., ::-1].copy())
    first = (pixels[:16, :16].reshape(-1) / 255 - 0.5) / 0.5
    torch.testing.assert_close(batch.pixel_values[0, 0], first)


def test_boxes_and_masks_follow():
    results = {
        'img': noise(96, 160),
        'gt_bboxes': HorizontalBoxes(torch.tensor([[16.0, 24.0, 80.0, 96.0]])),
        'gt_masks': BitmapMasks(np.ones((1, 96, 160), np.uint8), 96, 160),
    }
    results = FGCLIP2Resize(max_num_patches=24)(results)  # 4 x 6 patches
    assert results['img_shape'] == results['img'].shape[:2] == (64, 96)
    assert results['scale_factor'] == (0.6, 64 / 96)  # (w, h)
    expected = torch.tensor([[9.6, 16.0, 48.0, 64.0]])
    torch.testing.assert_close(results['gt_bboxes'].tensor, expected)
    assert results['gt_masks'].masks.shape == (1, 64, 96)


@pytest.mark.parametrize(
    ('shape', 'expected'), [((224, 224), (256, 256)), ((333, 500), (368, 544))]
)
def test_auto_budget_depends_on_the_image(shape, expected):
    results = FGCLIP2Resize('auto')({'img': noise(*shape)})
    assert results['img_shape'] == expected


def test_multi_scale_draws_each_budget_with_numpys_generator():
    resize = FGCLIP2Resize([64, 256])

    def draw() -> list:
        np.random.seed(0)
        return [resize({'img': noise(64, 64)})['img_shape'] for _ in range(8)]

    shapes = draw()
    assert set(shapes) == {(128, 128), (256, 256)}
    assert shapes == draw()


@pytest.mark.parametrize('bad', [0, -1, 'large', [], [256, 0], 3.5])
def test_bad_budget(bad):
    with pytest.raises(ValueError, match='max_num_patches'):
        FGCLIP2Resize(bad)
