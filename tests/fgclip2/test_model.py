"""Rules of spec A that hold for every FG-CLIP 2."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from fgclip2_det.fgclip2 import FGCLIP2, FGCLIP2Config, ImageBatch, layers
from fgclip2_det.fgclip2.layers import attend, linear
from fgclip2_det.fgclip2.vision import VisionEmbeddings


@pytest.fixture(scope='module')
def encoder() -> FGCLIP2:
    return FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(3))


def noise_image(width: int, height: int, seed: int = 0) -> Image.Image:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (height, width, 3), generator=generator)
    return Image.fromarray(pixels.byte().numpy())


PARAMETERS = {'base': 383_803_394, 'large': 896_622_594, 'so400m': 1_154_017_410}
TENSORS = {'base': 425, 'large': 809, 'so400m': 905}


@pytest.mark.parametrize('size', PARAMETERS)
def test_parameter_counts(size):
    model = FGCLIP2.from_size(size, device='meta')
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[size]
    assert len(model.state_dict()) == TENSORS[size]
    assert all(p.is_meta for p in model.parameters())


def test_unknown_size():
    with pytest.raises(ValueError, match='huge'):
        FGCLIP2.from_size('huge')


def test_random_weights_follow_the_generator_and_not_the_towers(encoder):
    again = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(3))
    text = FGCLIP2.from_size(
        'tiny', towers='text', generator=torch.Generator().manual_seed(3)
    )
    other = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(4))
    state = encoder.state_dict()
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, state[name])
    for name, tensor in text.state_dict().items():
        assert torch.equal(tensor, state[name])
    assert not torch.equal(other.boxtext_head.weight, encoder.boxtext_head.weight)
    assert not hasattr(text, 'vision_model')


def test_batch_of_two_is_two_of_one(encoder):
    images = [noise_image(160, 96), noise_image(64, 300, 1)]
    boxes = [[[3, 4, 120, 90], [0, 0, 160, 96]], [[0, 10, 64, 150]]]
    both = encoder.preprocess(images, max_num_patches=128)
    assert not both.patch_mask.all()
    singles = [encoder.preprocess(image, max_num_patches=128) for image in images]
    together = encoder.encode_image(both)
    dense, regions = encoder.dense_features(both), encoder.region_features(both, boxes)
    for i, single in enumerate(singles):
        torch.testing.assert_close(together[i], encoder.encode_image(single)[0])
        torch.testing.assert_close(dense[i], encoder.dense_features(single)[0])
        assert dense[i].is_contiguous()
        torch.testing.assert_close(
            regions[i], encoder.region_features(single, [boxes[i]])[0]
        )


def test_dense_head_lets_every_token_query(encoder):
    """A.4: out = y + mlp(LN(y)), y = MHA(x, x, x), as nn.MultiheadAttention."""
    head = encoder.dense_feature_head
    dims, num_heads = 128, head.attention.num_heads
    plain = torch.nn.MultiheadAttention(dims, num_heads, batch_first=True)
    plain.load_state_dict(head.attention.state_dict())
    x = torch.randn(2, 7, dims)
    padding = torch.zeros(2, 7, dtype=torch.bool)
    padding[1, 5:] = True
    y = plain(x, x, x, key_padding_mask=padding)[0]
    expected = y + head.mlp(head.layernorm(y))
    actual = head.dense(x, ~padding[:, None, None])
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)
    pooled = plain(head.probe.expand(2, -1, -1), x, x, key_padding_mask=padding)[0]
    expected = (pooled + head.mlp(head.layernorm(pooled)))[:, 0]
    actual = head.pool(x, ~padding[:, None, None])
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('grid', [(16, 16), (27, 36), (1, 1), (63, 4), (128, 128)])
def test_position_grids(grid):
    """Positions equal torch's antialiased bilinear resize of the table."""
    embeddings = VisionEmbeddings(FGCLIP2Config.from_size('tiny').vision)
    table = embeddings.position_embedding.weight.detach()
    square = table.view(16, 16, -1).permute(2, 0, 1)[None]
    resized = F.interpolate(
        square, grid, mode='bilinear', align_corners=False, antialias=True
    )
    expected = resized[0].flatten(1).T
    torch.testing.assert_close(
        embeddings.positions(*grid), expected, atol=1e-5, rtol=1e-5
    )


def test_position_table_gets_gradients_after_a_first_pass():
    embeddings = VisionEmbeddings(FGCLIP2Config.from_size('tiny').vision)
    for step in range(2):  # a cached value would miss the second step
        before = embeddings.positions(3, 5).detach().clone()
        embeddings.positions(3, 5).sum().backward()
        with torch.no_grad():
            table = embeddings.position_embedding.weight
            table -= 0.1 * table.grad
            table.grad = None
        assert not torch.equal(embeddings.positions(3, 5), before), step


def test_a_window_is_the_image_with_everything_else_masked(encoder):
    """The 2 x 3 patches at row 1, column 2 of a 4 x 6 image, once alone as a window
    of it, once in place with all other patches masked away."""
    whole = encoder.preprocess(noise_image(96, 64), max_num_patches=24)
    inside = torch.zeros(4, 6, dtype=torch.bool)
    inside[1:3, 2:5] = True
    patches = whole.pixel_values[:, inside.flatten()]
    part = ImageBatch(
        pixel_values=patches,
        patch_mask=torch.ones(1, 6, dtype=torch.bool),
        grid_sizes=torch.tensor([[2, 3]]),
        image_sizes=torch.tensor([[32, 48]]),
        windows=torch.tensor([[1, 2, 4, 6]]),
    )
    with torch.no_grad():
        tokens, mask = encoder.encode_tokens(part)
        masked, _ = encoder.vision_model(
            whole.pixel_values, [(4, 6)], inside.flatten()[None, None, None]
        )
    assert mask is None
    torch.testing.assert_close(
        tokens, masked[:, inside.flatten()], atol=2e-5, rtol=1e-4
    )
    alone = replace(part, windows=None)
    assert not torch.allclose(encoder.encode_tokens(alone)[0], tokens, atol=1e-3)


def test_text_pools_the_last_position(encoder):
    """Changing the last token's id changes the embedding most directly: with
    blocks removed, the embedding is a function of it alone."""
    tower = encoder.text_model
    ids = encoder.tokenize(['red circle'], 'box')
    layers, tower.encoder.layers = tower.encoder.layers, torch.nn.ModuleList()
    try:
        before = tower(ids, 'box')
        changed_first, changed_last = ids.clone(), ids.clone()
        changed_first[0, 0] += 1
        changed_last[0, -1] += 5
        assert torch.equal(tower(changed_first, 'box'), before)
        assert not torch.equal(tower(changed_last, 'box'), before)
        last = tower.embeddings(ids, 'box')[:, -1]
        assert torch.equal(tower.final_layer_norm(last), before)
    finally:
        tower.encoder.layers = layers


def test_padding_takes_part_in_the_text(encoder):
    """No attention mask: another pad token changes the embedding."""
    ids = encoder.tokenize(['red circle'], 'box')
    other = ids.clone()
    other[0, 30] = 7
    assert not torch.allclose(
        encoder.encode_text(ids, 'box'), encoder.encode_text(other, 'box')
    )


def test_long_texts_use_their_own_positions(encoder):
    """The 196 rule: rows 0-19 come from ori, 20-195 from res."""
    embeddings = encoder.text_model.embeddings
    ids = encoder.tokenize(['a long caption'], 'long')
    assert ids.shape == (1, 196)
    positions = embeddings(ids, 'long') - embeddings.token_embedding(ids)
    ori = embeddings.position_embedding_ori.weight
    res = embeddings.position_embedding_res.weight
    torch.testing.assert_close(positions[0, :20], ori[:20])
    torch.testing.assert_close(positions[0, 20:], res[20:])


@pytest.mark.parametrize(
    ('mode', 'length'), [('box', 63), ('short', 196), ('long', 64), ('long', 195)]
)
def test_other_lengths_are_refused(encoder, mode, length):
    with pytest.raises(ValueError, match='padding to exactly'):
        encoder.encode_text(torch.zeros(1, length, dtype=torch.long), mode)


def test_modes_use_their_heads(encoder):
    ids = encoder.tokenize(['red circle'])
    pooled = encoder.text_model(ids, 'box')
    torch.testing.assert_close(
        encoder.encode_text(ids, 'box'), encoder.boxtext_head(pooled)
    )
    torch.testing.assert_close(
        encoder.encode_text(ids, 'SHORT'), encoder.text_model.head(pooled)
    )
    with pytest.raises(ValueError, match='mode must be one of'):
        encoder.encode_text(ids, 'crop')


def test_ids_of_another_tokenizer_are_refused(encoder):
    with pytest.raises(ValueError, match='another model'):
        encoder.encode_text(torch.full((1, 64), 300_000), 'box')


def test_no_tokenizer():
    model = FGCLIP2(FGCLIP2Config.from_size('tiny'))
    with pytest.raises(ValueError, match='no tokenizer'):
        model.tokenize('cat')


def test_logits_are_scaled_cosines(encoder):
    batch = encoder.preprocess(noise_image(64, 48))
    logits = encoder(batch, ['red circle', '蓝色星形'])
    image = encoder.encode_image(batch, normalize=True)
    text = encoder.encode_text(['red circle', '蓝色星形'], 'short', normalize=True)
    expected = encoder.logit_scale.exp() * image @ text.T + encoder.logit_bias
    torch.testing.assert_close(logits, expected)


@pytest.mark.parametrize(
    ('boxes', 'match'),
    [
        ([[0, 0, float('nan'), 5]], 'finite xyxy'),
        ([[10, 0, 5, 5]], 'x1 <= x2'),
        ([[200, 0, 300, 50]], 'touching the image of 64 x 48'),
        ([[0, 0, 5]], r'must be \(n, 4\)'),
    ],
)
def test_bad_boxes(encoder, boxes, match):
    batch = encoder.preprocess(noise_image(64, 48))
    with pytest.raises(ValueError, match=match):
        encoder.region_features(batch, [boxes])


def test_box_lists_must_match_the_images(encoder):
    with pytest.raises(ValueError, match='one box list per image'):
        encoder.region_features(encoder.preprocess(noise_image(64, 48)), [])


def test_no_boxes(encoder):
    batch = encoder.preprocess([noise_image(64, 48), noise_image(64, 48, 1)])
    regions = encoder.region_features(batch, [[], torch.tensor([[0, 0, 64, 48.0]])])
    assert [tuple(r.shape) for r in regions] == [(0, 128), (1, 128)]


def test_bf16_regions_and_texts_multiply(encoder):
    half = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(3))
    half = half.to(torch.bfloat16)
    batch = half.preprocess(noise_image(64, 48))
    regions = half.region_features(batch, [[[0, 0, 30, 30]]], normalize=True)[0]
    texts = half.encode_text(['red circle'], normalize=True)
    assert (regions @ texts.T).dtype == torch.bfloat16
    single = encoder.region_features(batch, [[[0, 0, 30, 30]]], normalize=True)[0]
    torch.testing.assert_close(regions.float(), single, atol=5e-2, rtol=0)


def test_gradient_checkpointing_changes_nothing():
    model = FGCLIP2.from_size('tiny', generator=torch.Generator().manual_seed(0))
    batch = model.preprocess(noise_image(64, 48))
    grads = []
    for checkpointing in (False, True):
        model.vision_model.encoder.gradient_checkpointing = checkpointing
        model.zero_grad()
        model.encode_image(batch).sum().backward()
        weight = model.vision_model.encoder.layers[0].mlp.fc1.weight
        grads.append(weight.grad.clone())
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize('gelu', [False, True])
def test_linear_is_the_same_with_and_without_gradients(gelu):
    """Without gradients a CPU takes oneDNN's kernel, which autograd cannot."""
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (
        torch.randn(shape, generator=generator)
        for shape in ((2, 7, 48), (96, 48), (96,))
    )
    expected = F.linear(x, weight, bias)
    expected = F.gelu(expected, approximate='tanh') if gelu else expected
    torch.testing.assert_close(linear(x, weight, bias, gelu), expected)
    strided = x[:, ::2]
    torch.testing.assert_close(linear(strided, weight, bias, gelu), expected[:, ::2])
    assert linear(x[:, :0], weight, bias, gelu).shape == (2, 0, 96)
    torch.testing.assert_close(
        linear(x.double(), weight.double(), bias.double(), gelu).float(), expected
    )
    weight.requires_grad_()
    with torch.no_grad():
        torch.testing.assert_close(linear(x, weight, bias, gelu), expected)
    linear(x, weight, bias, gelu).sum().backward()
    assert weight.grad is not None
    weight.requires_grad_(False)
    bias.requires_grad_()
    linear(x, weight, bias, gelu).sum().backward()
    assert bias.grad is not None


@pytest.mark.parametrize('masked', [False, True])
@pytest.mark.parametrize('queries', [9, 1])
def test_bf16_attention_on_a_cpu_is_the_same_in_parts(monkeypatch, masked, queries):
    """Five images, two at a time, against float32 of the same numbers."""
    monkeypatch.setattr(layers, 'PART_WEIGHTS', 2 * 2 * queries * 9)
    monkeypatch.setattr(layers, 'BFLOAT16', True)
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(5, n, 16, generator=generator) for n in (queries, 9, 9))
    mask = torch.arange(9) < torch.tensor([9, 3, 5, 9, 1])[:, None]
    mask = mask[:, None, None] if masked else None
    results = []
    for dtype in (torch.bfloat16, torch.float32):
        inputs = [x.bfloat16().to(dtype).requires_grad_() for x in (q, k, v)]
        with torch.autocast('cpu', enabled=dtype == torch.bfloat16):
            out = attend(*inputs, 2, mask)
        assert out.dtype == dtype
        out.float().square().sum().backward()
        results.append([out, *(x.grad for x in inputs)])
    for low, full in zip(*results, strict=True):
        torch.testing.assert_close(low.float(), full, rtol=0.05, atol=0.03)


@pytest.mark.parametrize(
    ('shape', 'learns', 'parts'),
    [
        ((2, 9, 8), True, True),
        ((2, 9, 8), False, False),  # exact to float32, and as fast
        ((2, 80, 8), True, False),  # weights of one image are too many
        ((0, 4, 8), True, False),
        ((2, 0, 8), True, False),
    ],
)
def test_bf16_attention_in_parts_is_for_training_short_sequences(
    monkeypatch, shape, learns, parts
):
    monkeypatch.setattr(layers, 'PART_WEIGHTS', 1000)
    monkeypatch.setattr(layers, 'BFLOAT16', True)
    used = []
    own = layers._attend_in_parts
    monkeypatch.setattr(
        layers, '_attend_in_parts', lambda *args: used.append(1) or own(*args)
    )
    x = torch.ones(shape, dtype=torch.bfloat16, requires_grad=learns)
    assert attend(x, x, x, 2, None).shape == shape
    with torch.no_grad():
        attend(x, x, x, 2, None)
    with torch.backends.mkldnn.flags(enabled=False):
        attend(x, x, x, 2, None)
    assert len(used) == parts
