"""Random views of whole images."""

import numpy as np
import pytest
from PIL import Image

from pretrain.data.augment import OPERATIONS, Augment


def picture(width=40, height=30) -> Image.Image:
    """Red grows to the right, green downwards."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.arange(width) * 5
    pixels[..., 1] = np.arange(height)[:, None] * 5
    return Image.fromarray(pixels)


def views(augment: Augment, count: int, image=None, size=None) -> list[np.ndarray]:
    image = image or picture()
    return [
        np.asarray(augment(image, np.random.default_rng(seed), size))
        for seed in range(count)
    ]


def test_crops_are_parts_of_the_image():
    """Neighbouring pixels differ by one step; areas and sides stay within the limits;
    both ends of them occur."""
    shares, ratios = [], []
    for view in views(Augment((0.5, 1.0), flip=False, rand_augment=None), 300):
        height, width, _ = view.shape
        assert (np.diff(view[..., 0].astype(int), axis=1) == 5).all()
        assert (np.diff(view[..., 1].astype(int), axis=0) == 5).all()
        shares.append(width * height / 1200)
        ratios.append(width / height)
    assert 0.48 < min(shares) < 0.55 and max(shares) > 0.9
    assert 0.7 < min(ratios) < 0.8 and 1.3 < max(ratios) < 1.42


def test_flips_every_other_one():
    found = views(Augment(None, rand_augment=None), 400)
    same = [np.array_equal(view, np.asarray(picture())) for view in found]
    mirrored = [np.array_equal(view[:, ::-1], np.asarray(picture())) for view in found]
    assert sum(same) + sum(mirrored) == 400 and 150 < sum(same) < 250


def test_nothing_asked_for_is_the_image():
    [view] = views(Augment(None, flip=False, rand_augment=None), 1)
    assert np.array_equal(view, np.asarray(picture()))


@pytest.mark.parametrize('size', [(1, 1), (300, 2), (2, 300)])
def test_narrow_images(size):
    """A crop of these shares and ratios does not fit; the middle serves."""
    for view in views(Augment((0.9, 1.0)), 10, picture(*size)):
        height, width, _ = view.shape
        assert 1 <= width <= size[0] and 1 <= height <= size[1]
    [view] = views(Augment(), 1, picture(*size), (32, 16))
    assert view.shape == (16, 32, 3)


@pytest.mark.parametrize('name', OPERATIONS)
def test_operations(name):
    """Each keeps size and mode; at strength 0 those that move things do nothing."""
    rng = np.random.default_rng(0)
    image = OPERATIONS[name](picture(), 0.5, rng)
    assert image.size == (40, 30) and image.mode == 'RGB'
    unchanged = np.array_equal(np.asarray(image), np.asarray(picture()))
    # half of 0.1 to 1.9 is a factor of 1
    assert unchanged == (name in ('identity', 'brightness', 'sharpness'))
    if name.startswith(('shear', 'translate', 'rotate')):
        still = OPERATIONS[name](picture(), 0.0, rng)
        assert np.array_equal(np.asarray(still), np.asarray(picture()))


def test_translation_by_hand():
    """5 pixels of grey come in from one side or the other."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        moved = np.asarray(OPERATIONS['translate_x'](picture(), 0.5, rng))
        before = np.asarray(picture())
        left, right = moved[:, :5], moved[:, -5:]
        if (left == 128).all():
            assert np.array_equal(moved[:, 5:], before[:, :-5])
        else:
            assert (right == 128).all()
            assert np.array_equal(moved[:, :-5], before[:, 5:])


def test_rand_augment_changes_some():
    found = views(Augment(None, flip=False, rand_augment=(2, 5)), 60)
    changed = [not np.array_equal(view, np.asarray(picture())) for view in found]
    assert 20 < sum(changed) < 55
    again = views(Augment(None, flip=False, rand_augment=(2, 5)), 60)
    assert all(map(np.array_equal, found, again))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(crop=(0.0, 1.0)), 'crop must be two shares'),
        (dict(crop=(0.8, 0.5)), 'crop must be two shares'),
        (dict(rand_augment=(2, 11)), 'rand_augment must be two whole numbers'),
        (dict(rand_augment=(2.0, 5)), 'rand_augment must be two whole numbers'),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        Augment(**options)
