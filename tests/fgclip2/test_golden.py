"""Equality with the reference implementation's outputs on a random tiny model."""

import numpy as np
import pytest
import torch

from fgclip2_det.fgclip2 import FGCLIP2
from fgclip2_det.fgclip2.checkpoint import stretch_positions

ATOL = 1e-4
IMAGES = range(7)


@pytest.fixture(scope='module')
def encoder(fgclip2_tiny) -> FGCLIP2:
    return FGCLIP2.from_pretrained(fgclip2_tiny)


@pytest.fixture(scope='module')
def expected(fgclip2_tiny):
    return np.load(fgclip2_tiny / 'expected.npz')


def close(actual: torch.Tensor, wanted: np.ndarray) -> None:
    torch.testing.assert_close(
        actual.detach(), torch.from_numpy(wanted).float(), atol=ATOL, rtol=0
    )


@pytest.mark.parametrize('i', IMAGES)
def test_image_and_dense_embeddings(encoder, fgclip2_tiny, expected, i):
    batch = encoder.preprocess(fgclip2_tiny / f'image_{i}.png')
    assert batch.grid_sizes[0].tolist() == expected[f'spatial_shape_{i}'].tolist()
    close(batch.pixel_values[0, 0], expected[f'pixel_row0_{i}'])
    close(batch.pixel_values[0, -1], expected[f'pixel_rowlast_{i}'])
    close(encoder.encode_image(batch)[0], expected[f'image_embed_{i}'])
    dense = encoder.dense_features(batch)[0].flatten(1).T  # (h * w, D)
    close(dense[0], expected[f'dense_first_{i}'])
    close(dense[-1], expected[f'dense_last_{i}'])
    close(dense.mean(0), expected[f'dense_mean_{i}'])
    if f'dense_{i}' in expected:
        close(dense, expected[f'dense_{i}'])


def test_padded_batch(encoder, fgclip2_tiny, expected):
    batch = encoder.preprocess(
        [fgclip2_tiny / 'image_0.png', fgclip2_tiny / 'image_3.png']
    )
    assert batch.grid_sizes.tolist() == expected['batch_0_3_spatial_shapes'].tolist()
    assert not batch.patch_mask.all()
    close(encoder.encode_image(batch), expected['batch_0_3_image_embeds'])


@pytest.mark.parametrize('mode', ['short', 'box', 'long'])
def test_text_embeddings(encoder, expected, mode):
    ids = torch.from_numpy(expected[f'ids_{mode}']).long()
    close(encoder.encode_text(ids, mode), expected[f'text_embeds_{mode}'])


def test_logits(encoder, fgclip2_tiny, expected):
    batch = encoder.preprocess(fgclip2_tiny / 'image_0.png')
    ids = torch.from_numpy(expected['ids_short']).long()
    close(encoder(batch, ids), expected['logits_image0_short'].reshape(1, -1))


@pytest.mark.parametrize('i', IMAGES)
def test_region_embeddings(encoder, fgclip2_tiny, expected, i):
    batch = encoder.preprocess(fgclip2_tiny / f'image_{i}.png')
    (regions,) = encoder.region_features(batch, [expected[f'boxes_{i}']])
    assert len(regions) == 9
    close(regions, expected[f'region_{i}'])


def test_region_embeddings_of_a_padded_batch(encoder, fgclip2_tiny, expected):
    """Two images of one budget, 27 x 36 and 25 x 40 patches."""
    batch = encoder.preprocess([fgclip2_tiny / f'image_{i}.png' for i in (0, 6)])
    assert not batch.patch_mask.all()
    boxes = [expected[f'boxes_{i}'] for i in (0, 6)]
    for i, regions in zip((0, 6), encoder.region_features(batch, boxes), strict=True):
        close(regions, expected[f'region_{i}'])


def test_stretched_positions(fgclip2_tiny):
    tables = np.load(fgclip2_tiny / 'long_positions.npz')
    close(stretch_positions(torch.from_numpy(tables['short'])), tables['long'])
