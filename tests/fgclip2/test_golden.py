"""Equality with the reference implementation's outputs on a random tiny model."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fgclip2_det.fgclip2 import FGCLIP2, separable_roi_align
from fgclip2_det.fgclip2.checkpoint import stretch_positions

ATOL = 1e-4
IMAGES = range(7)


@pytest.fixture(scope='module')
def folder(shared) -> Path:
    return shared / 'golden' / 'fgclip2_tiny'


@pytest.fixture(scope='module')
def encoder(folder) -> FGCLIP2:
    return FGCLIP2.from_pretrained(folder)


@pytest.fixture(scope='module')
def expected(folder):
    return np.load(folder / 'expected.npz')


def close(actual: torch.Tensor, wanted: np.ndarray) -> None:
    torch.testing.assert_close(
        actual.detach(), torch.from_numpy(wanted).float(), atol=ATOL, rtol=0
    )


@pytest.mark.parametrize('i', IMAGES)
def test_image_and_dense_embeddings(encoder, folder, expected, i):
    batch = encoder.preprocess(folder / f'image_{i}.png')
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


def test_padded_batch(encoder, folder, expected):
    batch = encoder.preprocess([folder / 'image_0.png', folder / 'image_3.png'])
    assert batch.grid_sizes.tolist() == expected['batch_0_3_spatial_shapes'].tolist()
    assert not batch.patch_mask.all()
    close(encoder.encode_image(batch), expected['batch_0_3_image_embeds'])


@pytest.mark.parametrize('mode', ['short', 'box', 'long'])
def test_text_embeddings(encoder, expected, mode):
    ids = torch.from_numpy(expected[f'ids_{mode}']).long()
    close(encoder.encode_text(ids, mode), expected[f'text_embeds_{mode}'])


def test_logits(encoder, folder, expected):
    batch = encoder.preprocess(folder / 'image_0.png')
    ids = torch.from_numpy(expected['ids_short']).long()
    close(encoder(batch, ids), expected['logits_image0_short'].reshape(1, -1))


@pytest.mark.parametrize('i', IMAGES)
def test_regions_of_the_file_read_the_dense_map_unpermuted(
    encoder, folder, expected, i
):
    """``region_i`` was pooled by an op that ignores strides.

    The reference views the tokens as (h, w, D) and permutes; torchvision's
    RoIAlign then makes the map contiguous, mmcv's compiled CPU op reads the
    memory as it lies, that is (h * w * D,) as (D, h, w). The file holds the
    latter: pooling such a map gives its numbers, so boxes, scaling and sampling
    are checked by it, while the layout is checked by the loop in ``test_roi``.
    """
    batch = encoder.preprocess(folder / f'image_{i}.png')
    dense = encoder.dense_features(batch)[0]
    dims, h, w = dense.shape
    unpermuted = dense.permute(1, 2, 0).reshape(dims, h, w).permute(1, 2, 0)
    height, width = batch.image_sizes[0].tolist()
    scale = torch.tensor([w / width, h / height] * 2)
    cells = torch.from_numpy(expected[f'boxes_{i}']).float() * scale
    pooled = separable_roi_align(unpermuted, cells)[:, 0, 0]
    close(pooled, expected[f'region_{i}'])


def test_stretched_positions(folder):
    tables = np.load(folder / 'long_positions.npz')
    close(stretch_positions(torch.from_numpy(tables['short'])), tables['long'])
