"""Detection with the encoder in bfloat16 and in int8."""

import warnings

import pytest
import torch
from PIL import Image, ImageDraw

from fgclip2_det import OpenVocabInferencer
from fgclip2_det.apis.precision import set_precision
from fgclip2_det.apis.systems import EMBEDDED
from fgclip2_det.fgclip2 import low_precision
from fgclip2_det.fgclip2.low_precision import is_int8
from fgclip2_det.zeroshot.suite import make_embedder

NAMES = 'red circle; 蓝色正方形; black star'


@pytest.fixture(autouse=True)
def any_cpu(monkeypatch):
    monkeypatch.setattr(low_precision, 'has_int8_units', lambda: True)


@pytest.fixture(scope='module')
def image() -> Image.Image:
    image = Image.new('RGB', (256, 256), 'gray')
    ImageDraw.Draw(image).ellipse((60, 80, 140, 160), fill='red')
    ImageDraw.Draw(image).rectangle((160, 20, 220, 80), fill='blue')
    return image


def test_int8_finds_the_same(image):
    """Only the encoder is rounded: half a pixel and 0.02, texts to the bit."""
    (full,) = OpenVocabInferencer()(image, NAMES, score_thr=0.3)
    inferencer = OpenVocabInferencer(dtype='int8')
    assert is_int8(inferencer.model.backbone)
    (low,) = inferencer(image, NAMES, score_thr=0.3)
    assert low.names == full.names and len(full) == 2
    torch.testing.assert_close(low.bboxes, full.bboxes, atol=0.5, rtol=0)
    torch.testing.assert_close(low.scores, full.scores, atol=0.02, rtol=0)
    (again,) = inferencer(image, NAMES, score_thr=0.3)
    assert torch.equal(again.bboxes, low.bboxes)
    assert len(inferencer.explain(image, NAMES, 0).names) == 2


@pytest.mark.parametrize('dtype', ['bfloat16', 'int8'])
def test_the_encoder_of_a_rescorer(image, dtype):
    options = dict(detector=str(EMBEDDED), encoder=dict(size='tiny'))
    (full,) = OpenVocabInferencer(**options)(image, NAMES, score_thr=0.3)
    inferencer = OpenVocabInferencer(**options, dtype=dtype)
    encoder = inferencer.model.encoder
    assert is_int8(encoder) == (dtype == 'int8')
    assert encoder.logit_scale.dtype == torch.float32
    weight = encoder.vision_model.embeddings.patch_embedding.weight
    assert weight.dtype == getattr(torch, dtype if dtype == 'bfloat16' else 'float32')
    (low,) = inferencer(image, NAMES, score_thr=0.3)
    assert low.names == full.names


def test_int8_needs_an_encoder():
    system = OpenVocabInferencer().system
    system.model.backbone = torch.nn.Identity()
    set_precision(system, 'bfloat16')  # the rest runs in autocast
    with pytest.raises(ValueError, match=r'vision tower, which \w+ has not'):
        set_precision(system, 'int8')


@pytest.mark.parametrize('units', [True, False])
def test_bfloat16_that_is_slow_is_warned_of(monkeypatch, units):
    monkeypatch.setattr('fgclip2_det.apis.precision.has_bfloat16_units', lambda: units)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        OpenVocabInferencer(dtype='bfloat16', device='cpu')
    slow = [w for w in caught if 'many times slower' in str(w.message)]
    assert len(slow) == (0 if units else 1)


def test_benchmarks_take_int8():
    embedder = make_embedder('random-tiny', device='cpu', dtype=torch.int8)
    exact = make_embedder('random-tiny', device='cpu')
    assert is_int8(embedder.encoder)
    assert embedder.encoder_digest() != exact.encoder_digest()
