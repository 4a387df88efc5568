"""Every released folder fits: no tensor is missing, left over or of another shape."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import fgclip2_det
from fgclip2_det import FGCLIP2
from fgclip2_det.fgclip2.tokenizer import FGCLIP2Tokenizer
from fgclip2_det.reproduce.releases import DETECTORS, ENCODERS, Release

checks = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name('checks.py'))))
pytestmark = pytest.mark.weights
FGCLIP2_SIZES = [name for name in ENCODERS if name.startswith('fgclip2')]
FGCLIP1_SIZES = [name for name in ENCODERS if name.startswith('fgclip1')]
SIGLIP2 = {
    'base': Release('google/siglip2-base-patch16-naflex', 1_500_000_000),
    'so400m': Release('google/siglip2-so400m-patch16-naflex', 4_540_000_000),
}


@pytest.mark.parametrize('name', FGCLIP2_SIZES)
def test_fgclip2(name, released):
    release = ENCODERS[name]
    folder = released(release)
    assert release.fault(folder) == ''
    encoder = FGCLIP2.from_pretrained(folder)
    checks.assert_encoder(encoder)
    assert encoder.config.text.vocab_size == 256_000
    size = fgclip2_det.FGCLIP2.from_size(release.size, device='meta')
    assert encoder.config.text.hidden_size == size.config.text.hidden_size


@pytest.mark.parametrize('name', FGCLIP2_SIZES)
def test_tokenizer(name, released):
    checks.assert_table(FGCLIP2Tokenizer.from_folder(released(ENCODERS[name])))


@pytest.mark.parametrize('name', FGCLIP1_SIZES)
def test_fgclip1(name, released):
    load = getattr(fgclip2_det, 'load_encoder', None)
    if load is None:
        pytest.skip('this version of the package does not read FG-CLIP 1')
    checks.assert_encoder(load(released(ENCODERS[name])))


@pytest.mark.parametrize('size', SIGLIP2)
def test_siglip2(size, released):
    """The start of the alignment: the heads that it lacks are copies."""
    encoder = FGCLIP2.from_siglip2(released(SIGLIP2[size]))
    checks.assert_encoder(encoder)
    torch.testing.assert_close(
        encoder.dense_feature_head.layernorm.weight,
        encoder.vision_model.head.layernorm.weight,
    )


@pytest.mark.parametrize('name', DETECTORS)
def test_detectors(name, released):
    transformers = pytest.importorskip('transformers')
    from fgclip2_det.models.detectors.huggingface_outputs import ADAPTERS, Adapter

    release = DETECTORS[name]
    folder = released(release)
    assert release.fault(folder) == ''
    content, _ = transformers.PretrainedConfig.get_config_dict(folder)
    adapter = Adapter(*ADAPTERS[content['model_type']])
    _, info = getattr(transformers, adapter.model).from_pretrained(
        folder, use_safetensors=True, output_loading_info=True
    )
    assert not info['missing_keys'] and not info['mismatched_keys']
    # the tracker of a video model is left out
    unexpected = [k for k in info['unexpected_keys'] if not k.startswith('tracker')]
    assert all('relative_position_index' in key for key in unexpected)
