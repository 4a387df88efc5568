"""A trained segmentor behind the benchmarks: its maps, of resized images."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

import fgclip2_det.registration
from fgclip2_det.engine.segmentor_embedder import SegmentorEmbedder
from fgclip2_det.models.encoders import build_encoder
from fgclip2_det.zeroshot import ImageItem

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs/segmentation/fgclip2-cost_tiny_ovshapes.py'


@pytest.fixture(scope='module')
def parts():
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(CONFIG).model)
    return model, build_encoder('tiny', towers='text')


def save(path, size: tuple[int, int], seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    image = Image.fromarray(pixels)
    image.save(path)
    return image


def test_maps_are_the_model_s_of_the_resized_image(parts, tmp_path):
    """48 x 70 to a shorter side of 64: 64 x 93, whole patches: 64 x 96."""
    model, encoder = parts
    embedder = SegmentorEmbedder(model, encoder, test_side=64, progress=False)
    image = save(tmp_path / 'a.png', (48, 70))
    save(tmp_path / 'b.png', (90, 40), 1)
    texts = embedder.texts(['red circle', 'blue ring', 'heart'], 'box')
    items = [ImageItem(tmp_path / name) for name in ('a.png', 'b.png')]
    one, other = embedder.name_maps(items, texts)
    assert one.shape == (3, 16, 24) and other.shape == (3, 36, 16)
    resized = np.asarray(image.resize((96, 64), Image.Resampling.BILINEAR), np.float32)
    inputs = torch.from_numpy(resized / 127.5 - 1).permute(2, 0, 1)[None]
    model.eval()
    with torch.no_grad():
        maps, dense = model.backbone.extract(inputs)
        expected = model.decode_head(dense, list(maps), texts)[0]
    torch.testing.assert_close(one, expected)
    model.zero_shot = True
    [cosines] = embedder.name_maps(items[:1], texts)
    model.zero_shot = False
    expected = torch.einsum('td,dhw->thw', texts, F.normalize(dense[0], dim=0))
    torch.testing.assert_close(cosines, expected)


def test_a_long_image_has_a_limit(parts):
    embedder = SegmentorEmbedder(*parts, test_side=640)
    pixels = embedder._pixels(Image.new('RGB', (3000, 30)))
    assert pixels.shape == (1, 3, 32, 2560)  # 30 x 2560 / 3000 = 25.6


def test_the_digest_is_of_all_weights(parts):
    model, encoder = parts
    one = SegmentorEmbedder(model, encoder).encoder_digest()
    weight = model.decode_head.embed.weight
    with torch.no_grad():
        weight += 1
    other = SegmentorEmbedder(model, encoder).encoder_digest()
    with torch.no_grad():
        weight -= 1
    assert one != other
