"""Equality with the reference implementation's outputs on a random tiny model."""

import numpy as np
import pytest
import torch

from fgclip2_det import FGCLIP1, load_encoder
from fgclip2_det.fgclip2.preprocess import unpatchify

ATOL = 1e-4


@pytest.fixture(scope='module')
def encoder(fgclip1_golden) -> FGCLIP1:
    encoder = load_encoder(fgclip1_golden)
    assert isinstance(encoder, FGCLIP1)
    return encoder


@pytest.fixture(scope='module')
def expected(fgclip1_golden):
    return np.load(fgclip1_golden / 'expected.npz')


def close(actual: torch.Tensor, wanted: np.ndarray) -> None:
    torch.testing.assert_close(
        actual.detach(), torch.from_numpy(wanted).float(), atol=ATOL, rtol=0
    )


def check_image(encoder, path, expected, i):
    batch = encoder.preprocess(path)
    (pixels,) = unpatchify(batch.pixel_values, (14, 14))
    close(pixels.mean((1, 2)), expected[f'pixels_mean_{i}'])
    close(pixels[:, :4, :4], expected[f'pixels_corner_{i}'])
    close(encoder.encode_image(batch)[0], expected[f'image_embed_{i}'])
    (dense,) = encoder.dense_features(batch)
    close(dense.flatten(1).T, expected[f'dense_{i}'])
    (regions,) = encoder.region_features(batch, [expected[f'boxes_{i}']])
    assert len(regions) == 6
    close(regions, expected[f'region_{i}'])


@pytest.mark.parametrize('i', [1, 2])
def test_images_and_regions(encoder, fgclip1_golden, expected, i):
    check_image(encoder, fgclip1_golden / f'image_{i}.png', expected, i)


def test_large_image(encoder, shared, expected):
    """640 x 480, squashed; too large a file for ``tests/data``."""
    path = shared / 'golden' / 'fgclip1_tiny' / 'image_0.png'
    if not path.is_file():
        pytest.skip(f'needs {path}')
    check_image(encoder, path, expected, 0)


def test_images_of_a_batch(encoder, fgclip1_golden, expected):
    paths = [fgclip1_golden / f'image_{i}.png' for i in (2, 1)]
    embeds, grids = encoder.encode(encoder.preprocess(paths))
    for row, i in enumerate((2, 1)):
        close(embeds[row], expected[f'image_embed_{i}'])
        close(grids[row].flatten(0, 1), expected[f'dense_{i}'])


@pytest.mark.parametrize('mode', ['short', 'long'])
def test_text_embeddings(encoder, expected, mode):
    ids = torch.from_numpy(expected[f'ids_{mode}'])
    close(encoder.encode_text(ids, mode), expected[f'text_embeds_{mode}'])


def test_box_texts_are_short_texts(encoder, expected):
    ids = torch.from_numpy(expected['ids_short'])
    close(encoder.encode_text(ids, 'box'), expected['text_embeds_short'])


def test_short_positions_with_the_projection_of_long_texts(encoder, expected):
    """What the reference does for use_bbox=True, walk_short_pos=False."""
    pooled = encoder.text_model(torch.from_numpy(expected['ids_box_long_head']), 'box')
    actual = encoder.project_text(pooled, 'long')
    close(actual, expected['text_embeds_box_long_head'])


def test_scales(encoder, expected):
    names = ('logit_scale', 'logit_scale_finegraind', 'logit_scale_hardneg')
    actual = [encoder.get_parameter(name).item() for name in names]
    np.testing.assert_allclose(actual, expected['logit_scale'], atol=1e-6)
