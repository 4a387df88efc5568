"""A folder of version 1 goes where one of version 2 goes."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fgclip2_det import FGCLIP1, Vocabulary, load_encoder
from fgclip2_det.vocabulary.check import check_vocabulary
from fgclip2_det.vocabulary.embedding import fingerprint
from fgclip2_det.vocabulary.image_prompts import ImageEmbeds, ImagePrompt

NAMES = ['red star', 'blue ring', '绿色星形']
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def picture(tmp_path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'a.png')
    return tmp_path / 'a.png'


# ------------------------------------------------------------------- vocabulary
def test_names_are_embedded_and_cached(fgclip1_tiny, tmp_path, monkeypatch):
    vocabulary = Vocabulary(NAMES, templates=['a {}.', 'the {}.'])
    encoder = load_encoder(fgclip1_tiny)
    wanted = vocabulary.embed(encoder)
    assert wanted.shape == (3, 80)
    first = encoder.encode_text(['a red star.', 'the red star.'], 'box', True).mean(0)
    torch.testing.assert_close(wanted[0], first / first.norm())
    assert vocabulary.embed(fgclip1_tiny, tmp_path).equal(wanted)
    monkeypatch.setattr(FGCLIP1, 'from_pretrained', None)  # read from the cache
    assert vocabulary.embed(fgclip1_tiny, tmp_path).equal(wanted)


def test_fingerprints(fgclip1_tiny, clip_tiny, tmp_path):
    """Of what box embeddings depend on: CLIP's own towers have the same one."""
    same = fingerprint(fgclip1_tiny)
    assert same == fingerprint(load_encoder(fgclip1_tiny)) == fingerprint(clip_tiny)
    assert same == fingerprint(load_encoder(clip_tiny))
    other = Path(shutil.copytree(fgclip1_tiny, tmp_path / 'other'))
    assert fingerprint(other) == same
    words = (other / 'tokenizer.json').read_text().replace('Lowercase', 'NFD')
    (other / 'tokenizer.json').write_text(words)
    assert fingerprint(other) != same
    (other / 'tokenizer.json').unlink()
    with pytest.raises(ValueError, match=r'neither tokenizer.json nor vocab.json'):
        fingerprint(other)


def test_long_prompts_are_found(fgclip1_tiny):
    """77 tokens, a byte each here: 75 letters."""
    names = ['x' * 75, 'y' * 76]
    for encoder in (fgclip1_tiny, load_encoder(fgclip1_tiny)):
        (finding,) = check_vocabulary(Vocabulary(names, check=False), encoder)
        assert finding.kind == 'long' and '78 tokens, 77 is the limit' in str(finding)
    with pytest.raises(ValueError, match='77 is the limit'):
        Vocabulary(names[1:], check=False).embed(fgclip1_tiny)


def test_image_prompts(fgclip1_tiny, picture, tmp_path):
    encoder = load_encoder(fgclip1_tiny)
    prompt = ImagePrompt('thing', [(str(picture), [8, 8, 60, 50])])
    embeds = ImageEmbeds.encode([prompt], encoder)
    batch = encoder.preprocess([str(picture)])
    (wanted,) = encoder.region_features(batch, [[[8, 8, 60, 50]]], True)
    torch.testing.assert_close(embeds.embeds, wanted)
    embeds.save(tmp_path / 'prompts.safetensors')
    ImageEmbeds.load(tmp_path / 'prompts.safetensors', encoder)
    with pytest.raises(ValueError, match='another encoder'):
        ImageEmbeds.load(tmp_path / 'prompts.safetensors', load_encoder('fgclip2_tiny'))


# ------------------------------------------------------------------- benchmarks
def test_embedders_equal_the_encoders_own_methods(fgclip1_tiny, picture, tmp_path):
    from fgclip2_det.zeroshot.embedder import Embedder
    from fgclip2_det.zeroshot.images import ImageItem
    from fgclip2_det.zeroshot.suite import make_embedder

    embedder = make_embedder(str(fgclip1_tiny), device='cpu')
    assert isinstance(embedder, Embedder) and embedder.dims == 80
    item = ImageItem(str(picture), [[8, 8, 60, 50], [0, 0, 96, 64]], (96, 64))
    whole, regions = embedder.images([item, item])
    encoder = load_encoder(fgclip1_tiny)
    batch = encoder.preprocess([str(picture)])
    torch.testing.assert_close(whole[1:], encoder.encode_image(batch, True))
    (wanted,) = encoder.region_features(batch, [item.bboxes], True)
    torch.testing.assert_close(regions[:2], wanted, atol=1e-5, rtol=1e-4)
    (dense,) = embedder.dense_maps([item])
    assert dense.shape == (80, 14, 14)
    embedder.texts(['x' * 75, 'y' * 80, 'X' * 75], 'short')
    assert embedder.num_truncated == {'short': 1}


def test_sigmoid_scores_need_a_bias(fgclip1_tiny):
    from fgclip2_det.zeroshot.embedder import Embedder
    from fgclip2_det.zeroshot.few_names import sigmoid_scores

    with pytest.raises(ValueError, match=r"FG-CLIP 1 and CLIP.*take 'softmax'"):
        sigmoid_scores(torch.zeros(1, 2), Embedder(load_encoder(fgclip1_tiny)))


# ------------------------------------------------------------------- detectors
def detector(fgclip1_tiny):
    """The tiny F-ViT detector around version 1: 96 channels, 80 of texts."""
    pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')
    from mmdet.registry import MODELS
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    import fgclip2_det.registration

    init_default_scope('mmdet')
    cfg = Config.fromfile(ROOT / 'configs/_base_/models/fgclip2-det_tiny_sfpn.py')
    cfg.model.backbone.update(
        type='FGCLIP1ViT', encoder=dict(pretrained=str(fgclip1_tiny)), frozen_stages=-1
    )
    cfg.model.neck.in_channels = 96
    cfg.model.roi_head.region_loss_weight = 1.0
    cfg.model.roi_head.bbox_head.embed_dims = 80
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model


def test_an_f_vit_detector_learns_and_predicts(fgclip1_tiny):
    model = detector(fgclip1_tiny)
    from tests.models.test_detector import data

    model.set_vocabulary(NAMES)
    batch = model.data_preprocessor(data((96, 160), (64, 96), labels=[0, 2]), True)
    model.train()
    loss, values = model.parse_losses(model(**batch, mode='loss'))
    assert loss.isfinite() and values['loss_region'] > 0
    loss.backward()
    assert model.backbone.visual_projection.weight.grad.abs().sum() > 0
    torch.nn.init.normal_(model.roi_head.bbox_head.fc_cls.project.weight, std=1.0)
    model.eval()
    with torch.no_grad():
        together = model.test_step(data((96, 160), (128, 64)))
        (alone,) = model.test_step(data((96, 160)))
    assert len(together[0].pred_instances) == len(alone.pred_instances) > 0
    torch.testing.assert_close(
        together[0].pred_instances.scores, alone.pred_instances.scores,
        atol=1e-3, rtol=1e-3,
    )  # fmt: skip


def test_released_scale_without_a_bias(fgclip1_tiny):
    from fgclip2_det.models.encoders import released_logits

    encoder = load_encoder(fgclip1_tiny)
    for source in (str(fgclip1_tiny), encoder):
        scale, bias = released_logits(source)
        assert scale == encoder.logit_scale and bias == 0
