"""Equality of an exported encoder with the reference implementation's outputs."""

import numpy as np
import pytest

from fgclip2_det import load_encoder
from fgclip2_det.fgclip1 import FGCLIP1Tokenizer
from fgclip2_det.fgclip2.text import MODES
from fgclip2_det.onnx import Encoder, export_encoder
from fgclip2_det.onnx.sessions import Session

ATOL = 1e-4


@pytest.fixture(scope='module')
def exported(fgclip1_golden, tmp_path_factory):
    """The reference's model, whose folder has no tokenizer, with one of bytes."""
    for package in ('onnx', 'onnxscript', 'onnxruntime'):
        pytest.importorskip(package, reason=f'exports need {package}')
    encoder = load_encoder(fgclip1_golden)
    encoder.tokenizer = FGCLIP1Tokenizer.of_bytes(encoder.config.text.vocab_size)
    return export_encoder(
        encoder, tmp_path_factory.mktemp('golden') / 'out', max_side=14
    )


@pytest.fixture(scope='module')
def expected(fgclip1_golden):
    return np.load(fgclip1_golden / 'expected.npz')


def close(actual: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(actual, wanted, rtol=0, atol=ATOL)


@pytest.mark.parametrize('i', [1, 2])
def test_images_and_regions(exported, fgclip1_golden, expected, i):
    encoder, path = Encoder(exported), fgclip1_golden / f'image_{i}.png'
    pixels = encoder.preprocess(path)
    close(pixels.mean((1, 2)), expected[f'pixels_mean_{i}'])
    close(pixels[:, :4, :4], expected[f'pixels_corner_{i}'])
    close(encoder.encode_image(path), expected[f'image_embed_{i}'])
    dense = encoder.dense_features(path)
    close(dense.reshape(-1, dense.shape[2]), expected[f'dense_{i}'])
    boxes = expected[f'boxes_{i}']
    close(encoder.region_features(path, boxes), expected[f'region_{i}'])


@pytest.mark.parametrize('mode', ['short', 'long'])
def test_text_embeddings(exported, expected, mode):
    index = np.array(MODES.index(mode), np.int64)
    ids = expected[f'ids_{mode}'].astype(np.int64)
    (embeds,) = Session(exported / 'text.onnx')(dict(ids=ids, mode=index))
    close(embeds, expected[f'text_embeds_{mode}'])
