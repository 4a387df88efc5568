"""Torch's default device and dtype: what follows them, and what does not."""

import pytest
import torch
from PIL import Image

from fgclip2_det.fgclip2 import FGCLIP2, random_weights


@pytest.fixture
def encoder() -> FGCLIP2:
    return FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(3))


def noise_image(width: int, height: int) -> Image.Image:
    return Image.radial_gradient('L').resize((width, height)).convert('RGB')


@pytest.mark.parametrize('size', ['tiny', 'base'])
def test_default_device_meta(size):
    """As ``device='meta'``; an explicit device and a folder's weights stay real."""
    with torch.device('meta'):
        model = FGCLIP2.from_size(size)
        tiny = FGCLIP2.from_size('tiny', device='cpu')
        loaded = FGCLIP2.from_pretrained('fgclip2_tiny')
    assert all(p.is_meta for p in model.parameters())
    expected = FGCLIP2.from_size(size, device='meta')
    shapes = [(name, p.shape) for name, p in model.named_parameters()]
    assert shapes == [(name, p.shape) for name, p in expected.named_parameters()]
    for one in (tiny, loaded):
        assert all(p.device.type == 'cpu' and p.isfinite().all()
                   for p in one.parameters())  # fmt: skip


def test_default_device_is_taken(monkeypatch, encoder):
    """Weights are the same wherever they go; here the default is the CPU by name."""
    with torch.device('cpu'):
        other = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(3))
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, encoder.state_dict()[name]), name
    seen = []
    monkeypatch.setattr(torch, 'get_default_device', lambda: torch.device('cpu', 0))
    monkeypatch.setattr(FGCLIP2, 'to_empty', lambda self, device: seen.append(device))
    monkeypatch.setattr(random_weights, 'init_random', lambda model, _: model)
    FGCLIP2.from_size('tiny')
    assert seen == [torch.device('cpu', 0)]


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16])
def test_default_dtype(encoder, dtype):
    """New parameters have it, with float32's values; loaded models stay float32."""
    batch, boxes = encoder.preprocess([noise_image(160, 96)]), [[[3, 4, 120, 90]]]
    regions = encoder.region_features(batch, boxes)[0]
    texts = encoder.encode_text(['a cat'])
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        other = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(3))
        again = encoder.preprocess([noise_image(160, 96)])
        actual = (
            encoder.region_features(again, boxes)[0],
            encoder.encode_text(['a cat']),
        )
        half = other.region_features(again, boxes)[0], other.encode_text(['a cat'])
    finally:
        torch.set_default_dtype(default)
    for name, tensor in other.state_dict().items():
        assert tensor.dtype == dtype
        if tensor.ndim > 1:
            assert torch.equal(tensor, encoder.state_dict()[name].to(dtype)), name
    assert torch.equal(again.pixel_values, batch.pixel_values)
    torch.testing.assert_close(actual[0], regions)
    torch.testing.assert_close(actual[1], texts)
    for mine, expected in zip(half, (regions, texts), strict=True):
        cosine = torch.cosine_similarity(mine.double(), expected.double())
        assert mine.dtype == dtype and cosine.min() > 0.99
