"""The fast paths of inference against the exact one, on small models of odd sizes."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fgclip2_det.fgclip1 import FGCLIP1
from fgclip2_det.fgclip2 import (
    FGCLIP2,
    FGCLIP2Config,
    TextConfig,
    VisionConfig,
    layers,
    low_precision,
)
from fgclip2_det.fgclip2.dual_encoder import maybe_normalize
from fgclip2_det.fgclip2.layers import attend, linear
from fgclip2_det.fgclip2.low_precision import (
    Int8Linear,
    has_int8_units,
    is_int8,
    quantize_int8,
    quantize_rows,
    to_bfloat16,
)
from fgclip2_det.fgclip2.preprocess import ImageBatch, patchify
from fgclip2_det.models.backbones.fgclip2_vit import FGCLIP2ViT

SIZES = [(96, 160), (64, 48), (16, 16)]  # h, w; the last is one patch of 16 pixels


@pytest.fixture(autouse=True)
def any_cpu(monkeypatch):
    """Integers are multiplied on every CPU, only slower."""
    monkeypatch.setattr(low_precision, 'has_int8_units', lambda: True)


def small(width=72, hidden=100, heads=3, patch=8) -> FGCLIP2:
    """Two blocks of sizes that no kernel prefers."""
    shared = (width, hidden, 2, heads)
    text = TextConfig(*shared, vocab_size=50, projection_size=width)
    config = FGCLIP2Config(text, VisionConfig(*shared, num_patches=9, patch_size=patch))
    torch.manual_seed(0)
    model = FGCLIP2(config)
    for name, parameter in model.named_parameters():
        nn.init.normal_(parameter, 1.0 if 'norm' in name else 0.0, 0.1)
    return model.eval()


def batch_of(patch: int, sizes=SIZES) -> ImageBatch:
    """Noise, padded to the largest grid."""
    generator = torch.Generator().manual_seed(1)
    grids = [(h // patch, w // patch) for h, w in sizes]
    longest = max(h * w for h, w in grids)
    patches = [
        patchify(torch.rand(1, 3, *size, generator=generator) * 2 - 1, patch)[0]
        for size in sizes
    ]
    padded = torch.stack([F.pad(x, (0, 0, 0, longest - len(x))) for x in patches])
    counts = torch.tensor([len(x) for x in patches])
    mask = torch.arange(longest) < counts[:, None]
    return ImageBatch(padded, mask, torch.tensor(grids), torch.tensor(sizes))


def low(model: FGCLIP2, kind: str) -> FGCLIP2:
    model = copy.deepcopy(model)
    return model.quantize_int8() if kind == 'int8' else model.to(torch.bfloat16)


BOXES = [
    [[0, 0, 160, 96], [10, 5, 50, 80], [3, 3, 4, 90]],
    torch.zeros(0, 4),
    [[2.5, 0, 16, 16]],
]


@pytest.mark.parametrize('kind', ['bfloat16', 'int8'])
@pytest.mark.parametrize(
    'sizes', [dict(), dict(width=40, hidden=56, heads=5, patch=16)], ids=str
)
@torch.no_grad()
def test_regions_are_nearly_those_of_float32(kind, sizes, monkeypatch):
    """Three, no and one box; grids of three shapes, two of them padded."""
    monkeypatch.setattr(low_precision, 'PART', 1000)  # some rows at a time
    exact = small(**sizes)
    batch = batch_of(exact.config.vision.patch_size)
    fast = low(exact, kind)
    expected = exact.region_features(batch, BOXES, normalize=True)
    actual = fast.region_features(batch, BOXES, normalize=True)
    assert [len(x) for x in actual] == [3, 0, 1]
    assert actual[1].shape == (0, exact.embed_dims)
    for low_embeds, embeds in zip(actual, expected, strict=True):
        cosines = F.cosine_similarity(low_embeds.float(), embeds)
        assert (cosines > (0.999 if kind == 'bfloat16' else 0.995)).all(), cosines
    whole = F.cosine_similarity(
        fast.encode_image(batch).float(), exact.encode_image(batch)
    )
    assert (whole > 0.995).all()


@pytest.mark.parametrize('kind', ['bfloat16', 'int8'])
@torch.no_grad()
def test_the_same_input_gives_the_same_bits_and_padding_changes_nothing(kind):
    model = small()
    fast, batch = low(model, kind), batch_of(8)
    first, second = (fast.dense_grids(batch) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
    alone = fast.dense_grids(batch_of(8, SIZES[:1]))[0]
    cosines = F.cosine_similarity(alone.float(), first[0].float(), dim=-1)
    assert (cosines > 0.999).all()


def test_int8_rows_by_hand():
    """Largest values 2 and 0.5: steps 2 / 127 and 0.5 / 127; 1 = 63.5 steps, to 64."""
    rows = torch.tensor([[2.0, -1.0, 0.0], [0.5, 0.25, -0.5], [0.0, 0.0, 0.0]])
    values, scale = quantize_rows(rows)
    assert values.tolist() == [[127, -64, 0], [127, 64, -127], [0, 0, 0]]
    torch.testing.assert_close(scale[:2, 0] * 127, torch.tensor([2.0, 0.5]))


@pytest.mark.parametrize('rows', [1, 5, 700])
def test_an_int8_product_is_that_of_the_rounded_numbers(monkeypatch, rows):
    """In parts of a few rows; float64 of the rounded weights and activations."""
    monkeypatch.setattr(low_precision, 'PART', 64)
    torch.manual_seed(0)
    x, weight, bias = torch.randn(1, rows, 19), torch.randn(7, 19), torch.randn(7)
    (a, sa), (b, sb) = quantize_rows(x[0]), quantize_rows(weight)
    expected = (a.double() * sa.double()) @ (b.double() * sb.double()).T + bias
    actual = Int8Linear(weight, bias)(x)
    assert actual.shape == (1, rows, 7) and actual.dtype == torch.float32
    torch.testing.assert_close(actual[0].double(), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_windows_and_detectors_run_in_int8():
    torch.manual_seed(0)
    options = dict(encoder=dict(size='tiny', seed=0), output='both', window_size=3,
                   global_blocks=[3])  # fmt: skip
    exact = FGCLIP2ViT(**options).eval()
    fast = quantize_int8(copy.deepcopy(exact))
    x = torch.rand(2, 3, 96, 160) * 2 - 1
    x[1, :, 64:] = torch.nan
    for a, b in zip(fast(x), exact(x), strict=True):
        assert a.shape == b.shape and not a[1, :, 4:].any()
        assert F.cosine_similarity(a, b)[0].min() > 0.995


def test_a_bfloat16_stream_may_be_quantised():
    exact, batch = small(), batch_of(8, SIZES[:1])
    fast = quantize_int8(copy.deepcopy(exact).to(torch.bfloat16))
    with torch.no_grad():
        (expected,) = exact.dense_grids(batch)
        (actual,) = fast.dense_grids(batch)
    assert actual.dtype == torch.bfloat16
    assert F.cosine_similarity(actual.float(), expected, dim=-1).min() > 0.99


def test_what_is_in_int8_and_what_stays_in_float():
    model = small().quantize_int8()
    assert is_int8(model) and not is_int8(small())
    names = {n for n, m in model.named_modules() if isinstance(m, Int8Linear)}
    blocks = [f'vision_model.encoder.layers.{i}.' for i in range(2)]
    expected = {
        f'{block}{part}'
        for block in blocks
        for part in ('self_attn.in_proj', 'self_attn.out_proj', 'mlp.fc1', 'mlp.fc2')
    } | {
        f'dense_feature_head.{part}'
        for part in ('attention.in_proj', 'attention.out_proj', 'mlp.fc1', 'mlp.fc2')
    }
    assert names == expected
    own = model.state_dict()
    kept = [
        name
        for name in small().state_dict()
        if name in own and name.rpartition('.')[0] not in names
    ]
    assert any('text_model' in name for name in kept)
    assert any('vision_model.head' in name for name in kept)
    assert all(own[name].dtype == torch.float32 for name in kept)


def test_bfloat16_of_the_tower_leaves_texts_alone():
    model = to_bfloat16(small())
    assert model.vision_model.head.mlp.fc1.weight.dtype == torch.bfloat16
    assert model.dense_feature_head.probe.dtype == torch.bfloat16
    assert model.text_model.head.weight.dtype == torch.float32
    assert model.logit_scale.dtype == torch.float32
    with torch.no_grad():
        assert model.encode_image(batch_of(8)).dtype == torch.bfloat16


@pytest.mark.parametrize('mode', ['box', 'short', 'long'])
@torch.no_grad()
def test_texts_in_int8_on_request(mode):
    """Where only the last position of the last block is computed, too."""
    exact = small()
    length = exact.text_model.embeddings.length(mode)
    ids = torch.randint(50, (5, length), generator=torch.Generator().manual_seed(2))
    expected = exact.encode_text(ids, mode)
    vision = low(exact, 'int8')
    assert torch.equal(vision.encode_text(ids, mode), expected)
    both = copy.deepcopy(exact).quantize_int8(text=True)
    assert both.text_model.head.weight.dtype == torch.float32
    actual = both.encode_text(ids, mode)
    assert not torch.equal(actual, expected)
    assert F.cosine_similarity(actual, expected).min() > 0.995
    single = both.encode_text(ids[:1], mode)
    torch.testing.assert_close(single, actual[:1], rtol=1e-2, atol=1e-2)
    alone = FGCLIP2(exact.config, towers='text')
    alone.load_state_dict(exact.state_dict(), strict=False)
    assert torch.equal(alone.quantize_int8(text=True).encode_text(ids, mode), actual)


def test_what_int8_refuses(tmp_path, monkeypatch):
    model = small().quantize_int8()
    with pytest.raises(ValueError, match=r'in int8 cannot be saved.*float model'):
        model.save_pretrained(tmp_path / 'model')
    assert not (tmp_path / 'model').exists()
    with pytest.raises(ValueError, match='in int8 already'):
        model.quantize_int8()
    with pytest.raises(ValueError, match='no gradients'):
        Int8Linear(torch.ones(2, 3), torch.ones(2))(
            torch.ones(1, 3, requires_grad=True)
        )
    with pytest.raises(ValueError, match='Linear has no vision tower'):
        quantize_int8(nn.Linear(2, 2))
    with pytest.raises(ValueError, match='int8 is for FG-CLIP 2'):
        quantize_int8(FGCLIP1.from_size('tiny'))
    with pytest.raises(ValueError, match='int8 runs on CPUs'):
        quantize_int8(FGCLIP2.from_size('tiny', device='meta'))
    adapted = FGCLIP2ViT(encoder='tiny', lora=dict(r=2, alpha=2))
    with pytest.raises(ValueError, match='has adapters; merge them'):
        quantize_int8(adapted)
    assert not is_int8(adapted)
    monkeypatch.setattr(low_precision, 'has_int8_units', lambda: False)
    with pytest.raises(ValueError, match=r"AVX-512 VNNI.*'float32', or 'bfloat16'"):
        small().quantize_int8()


def test_the_units_are_pytorchs_answer(monkeypatch):
    monkeypatch.undo()
    for answer in (True, False):
        monkeypatch.setattr(
            torch.cpu, '_is_vnni_supported', lambda a=answer: a, raising=False
        )
        assert has_int8_units() == (answer and torch.backends.mkldnn.is_available())
    monkeypatch.delattr(torch.cpu, '_is_vnni_supported')
    assert not has_int8_units()


@pytest.mark.parametrize('masked', [False, True])
@pytest.mark.parametrize('weights', [2**21, 2 * 3 * 5 * 9, 3 * 5 * 9, 5 * 9, 2 * 9, 1])
@torch.no_grad()
def test_bf16_attention_by_heads(monkeypatch, weights, masked):
    """All images at once, some, one, one head, two rows, one row at a time."""
    monkeypatch.setattr(layers, 'PART_WEIGHTS', weights)
    monkeypatch.setattr(layers, 'BFLOAT16', True)
    torch.manual_seed(0)
    q, k, v = (torch.randn(4, n, 12).bfloat16() for n in (5, 9, 9))
    mask = None
    if masked:
        mask = torch.rand(4, 1, 5, 9) > 0.4
        mask[..., 0] = True
    expected = attend(q.float(), k.float(), v.float(), 3, mask)
    actual = attend(q, k, v, 3, mask)
    assert actual.dtype == torch.bfloat16
    torch.testing.assert_close(actual.float(), expected, rtol=0.03, atol=0.03)
    used = layers._heads_serve(*(x.unflatten(-1, (3, -1)) for x in (q, k, v)))
    assert used


@pytest.mark.skipif(not layers.BFLOAT16, reason='the CPU multiplies no bfloat16')
def test_bf16_is_fused_without_gradients_only():
    """Training takes the functions it took."""
    x = torch.randn(2, 5, 8).bfloat16()
    weight, bias = torch.randn(6, 8).bfloat16(), torch.randn(6).bfloat16()
    expected = F.gelu(F.linear(x.float(), weight.float(), bias.float()),
                      approximate='tanh')  # fmt: skip
    assert layers._onednn_serves(x, weight, bias)
    fused = linear(x, weight, bias, gelu=True)
    torch.testing.assert_close(fused.float(), expected, rtol=0.02, atol=0.02)
    learning = weight.clone().requires_grad_()
    assert not layers._onednn_serves(x, learning, bias)
    assert not layers._onednn_serves(x.float(), weight, bias)
    with torch.autocast('cpu', torch.bfloat16):
        assert layers._onednn_serves(x, weight, bias)
        assert not layers._onednn_serves(x.float(), weight.float(), bias.float())
    q = x.clone().requires_grad_()
    assert not layers._heads_serve(q[:, None], q[:, None], q[:, None])


def test_norms_of_bf16_embeddings_are_float32():
    x = torch.full((1, 4096), 1.0).bfloat16()  # bfloat16 cannot count to 4096
    assert maybe_normalize(x, True)[0, 0] == 2.0**-6
    assert maybe_normalize(x, False) is x
    assert maybe_normalize(x.double(), True).dtype == torch.float64
