"""Mask entries: what is passed to pycocotools, and what is stopped before."""

import numpy as np
import pytest
from pycocotools import mask as mask_utils

from fgclip2_det.coco.masks import (
    annotation_mask_fault,
    decode_counts,
    encode_mask,
    mask_fault,
)

SQUARE = [10, 10, 30, 10, 30, 30, 10, 30]


@pytest.fixture
def no_pycocotools(monkeypatch):
    """Fails the test if a mask gets as far as pycocotools."""

    def reached(*args):
        raise AssertionError('pycocotools was called')

    for name in ('frPyObjects', 'merge', 'area', 'iou', 'decode'):
        monkeypatch.setattr(mask_utils, name, reached)


def runs_of(pixels: np.ndarray) -> list[int]:
    """Lengths of the runs of a mask by columns, background first."""
    flat = np.concatenate([[0], pixels.flatten('F'), [2]])
    places = np.flatnonzero(np.diff(flat))
    return np.diff(np.concatenate([[0], places])).tolist()


@pytest.mark.parametrize('seed', range(5))
def test_counts_are_decoded_as_pycocotools_encodes_them(seed):
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 300, 2)
    pixels = (rng.random(shape) < rng.choice([0, 0.01, 0.5, 1])).astype(np.uint8)
    actual = mask_utils.encode(np.asfortranarray(pixels))
    runs = list(decode_counts(actual['counts']))
    assert runs == runs_of(pixels) and sum(runs) == pixels.size
    size = [int(n) for n in shape]
    for counts in (actual['counts'], actual['counts'].decode(), runs):
        entry = {'size': size, 'counts': counts}
        assert mask_fault(entry, *size) is None
        assert encode_mask(entry, *size) == {'size': size, 'counts': actual['counts']}


def test_polygons():
    actual = encode_mask([SQUARE, [1, 1, 3.5, 1, 3, 4]], 40, 50)
    assert actual['size'] == [40, 50] and mask_utils.area(actual) > 400
    outside = [-10, -10, 60, -10, 60, 50, -10, 50]  # reaches beyond the image
    assert mask_utils.area(encode_mask([outside], 40, 50)) == 2000


@pytest.mark.parametrize(
    ('entry', 'message'),
    [
        ({'size': [4, 5], 'counts': [10, 9]}, 'counts are of 19 pixels.* = 20'),
        ({'size': [4, 5], 'counts': [10, 11]}, 'counts are of 21 pixels'),
        ({'size': [4, 5], 'counts': []}, 'counts are of 0 pixels'),
        ({'size': [4, 5], 'counts': [21, -1]}, 'cannot be read: -1 is not the length'),
        ({'size': [4, 5], 'counts': [20.0]}, r'20\.0 is not the length of a run'),
        ({'size': [4, 5], 'counts': ['20']}, "'20' is not the length of a run"),
        ({'size': [4, 5], 'counts': 20}, 'expected a list of whole numbers or text'),
        ({'size': [4, 5], 'counts': ''}, 'counts are of 0 pixels'),
        ({'size': [4, 5], 'counts': '5'}, 'counts are of 5 pixels'),
        ({'size': [4, 5], 'counts': 'd'}, 'the last run is incomplete'),
        (
            {'size': [4, 5], 'counts': '5 '},
            "character ' ' does not occur in compressed RLE",
        ),
        ({'size': [4, 5], 'counts': '狗'}, 'cannot be read'),
        ({'size': [4, 5], 'counts': '@'}, r'run 0 .from 0. has the length -16'),
        ({'size': [4, 5], 'counts': 'oooooooo0'}, 'more than 32 bits'),
        ({'size': [5, 4], 'counts': [20]}, r'mask of \[5, 4\] pixels .* \[4, 5\]'),
        ({'size': 20, 'counts': [20]}, 'mask of 20 pixels'),
        ({'counts': [20]}, 'must be polygons or RLE'),
        ([], r'must be polygons or RLE, got \[\]'),
        (None, 'must be polygons or RLE, got None'),
        ([[0, 0, 1, 0, 1]], r'polygon 0 .* has 5 numbers'),
        ([[0, 0, 1, 0]], 'has 4 numbers, expected x, y of three points or more'),
        ([SQUARE, []], r'polygon 1 .from 0. has 0 numbers'),
        ([0, 0, 1, 0, 1, 1], 'polygon 0 .* must be a list of numbers, got 0'),
        ([[0, 0, 1, 0, 1, float('nan')]], 'must be finite numbers .* got nan'),
        ([[0, 0, 1, 0, 1, 'x']], "must be finite numbers .* got 'x'"),
        ([[0, 0, 1, 0, 1, None]], 'got None'),
        ([[0, 0, 1, 0, 1, 1e12]], 'must be finite numbers of pixels, got 1000'),
    ],
)
def test_what_is_stopped(no_pycocotools, entry, message):
    with pytest.raises(ValueError, match=message):
        encode_mask(entry, 4, 5)


@pytest.mark.parametrize('size', [(0, 5), (4, None), (4.0, 5), (1 << 20, 5), ('4', 5)])
def test_a_mask_needs_the_size_of_its_image(no_pycocotools, size):
    with pytest.raises(ValueError, match='needs the height and width of its image'):
        encode_mask([SQUARE], *size)


def test_annotations_without_a_mask_are_in_order():
    image = {'height': 40, 'width': 50}
    for entry in ({}, {'segmentation': None}, {'segmentation': []}):
        assert annotation_mask_fault(entry, image) is None
    assert 'has 3 numbers' in annotation_mask_fault(
        {'segmentation': [[1, 2, 3]]}, image
    )
