"""The decoder of cosines: attention against loops, names without an order."""

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det.models.segmentors import OpenVocabCostHead
from fgclip2_det.models.segmentors.cost_attention import (
    NameBlock,
    WindowBlock,
    linear_attention,
    pool_places,
)

SIZES = dict(
    embed_dims=12,
    map_channels=10,
    hidden_channels=8,
    num_layers=2,
    num_heads=2,
    appearance_channels=6,
    text_channels=4,
    window_size=4,
    guidance_channels=(6, 5),
    guidance_proj_channels=(4, 2),
    decoder_channels=(6, 4),
)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def head():
    torch.manual_seed(0)
    return OpenVocabCostHead(**SIZES)


def inputs(h: int = 5, w: int = 7, batch: int = 2, names: int = 3):
    maps = [random(batch, 10, h, w, seed=s) for s in (1, 2)]
    texts = F.normalize(random(names, 12, seed=3), dim=1)
    return random(batch, 12, h, w), maps, texts


def slow_window_block(block: WindowBlock, x, guidance):
    """Place by place: which others lie in its window, and a softmax over them."""
    h, w, channels = x.shape
    side = block.window_size or max(h, w)
    whole = side >= max(h, w)
    shift = side - side // 2 if block.shifted and not whole else 0
    heads, own = block.attention.num_heads, block.norm(x)
    both = own if guidance is None else torch.cat([own, guidance], -1)
    q, k = block.attention.query(both), block.attention.key(both)
    v = block.attention.value(own)
    rows = []
    for y in range(h):
        for z in range(w):
            near = [
                (a, b)
                for a in range(h)
                for b in range(w)
                if whole
                or (
                    (a + shift) // side == (y + shift) // side
                    and (b + shift) // side == (z + shift) // side
                )
            ]
            parts = []
            for head in range(heads):
                part = slice(head * channels // heads, (head + 1) * channels // heads)
                scores = torch.stack([q[y, z, part] @ k[a, b, part] for a, b in near])
                weights = (scores / (channels / heads) ** 0.5).softmax(0)
                values = torch.stack([v[a, b, part] for a, b in near])
                parts.append((weights[:, None] * values).sum(0))
            rows.append(block.attention.out(torch.cat(parts)))
    x = x + torch.stack(rows).reshape(h, w, channels)
    return x + block.ffn(block.norm_ffn(x))


@pytest.mark.parametrize('guided', [True, False])
@pytest.mark.parametrize('shifted', [True, False])
@pytest.mark.parametrize(('window', 'size'), [(4, (5, 7)), (2, (4, 6)), (0, (3, 5))])
def test_windows_equal_a_slow_loop(window, size, shifted, guided):
    """Outputs and gradients, on maps whose sides are no multiples of the window."""
    torch.manual_seed(0)
    block = WindowBlock(8, 6 if guided else 0, 2, window, shifted)
    x = random(2, *size, 8).requires_grad_()
    guidance = random(2, *size, 6, seed=1).requires_grad_() if guided else None
    leaves = [x, *block.parameters(), *([guidance] if guided else [])]
    fast = block(x, guidance)
    slow = torch.stack(
        [
            slow_window_block(block, x[i], None if guidance is None else guidance[i])
            for i in range(2)
        ]
    )
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-4)
    weight = random(*fast.shape, seed=2)
    for one, other in zip(
        torch.autograd.grad((fast * weight).sum(), leaves),
        torch.autograd.grad((slow * weight).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def test_linear_attention_equals_a_loop():
    """phi(x) = elu(x) + 1; every name is weighted with phi(q) . phi(k)."""
    q, k, v = (random(2, 5, 3, seed=s).requires_grad_() for s in range(3))
    rows = []
    for b in range(2):
        for i in range(5):
            weights = [(F.elu(q[b, i]) + 1) @ (F.elu(k[b, j]) + 1) for j in range(5)]
            mixed = sum(wt * v[b, j] for j, wt in enumerate(weights))
            rows.append(mixed / sum(weights))
    slow, fast = torch.stack(rows).reshape(2, 5, 3), linear_attention(q, k, v)
    torch.testing.assert_close(fast, slow)
    for one, other in zip(
        torch.autograd.grad(fast.square().sum(), (q, k, v)),
        torch.autograd.grad(slow.square().sum(), (q, k, v)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize('size', [(4, 6), (5, 7), (1, 1)])
def test_pooled_places_are_means_of_what_is_there(size):
    x = random(2, *size, 3)
    h, w = size
    expected = [
        [x[:, a : a + 2, b : b + 2].mean((1, 2)) for b in range(0, w, 2)]
        for a in range(0, h, 2)
    ]
    expected = torch.stack([torch.stack(row, 1) for row in expected], 1)
    torch.testing.assert_close(pool_places(x, 2), expected)


def test_names_of_one_place_attend_to_each_other_alone():
    """Without pooling, a change at one place stays there."""
    torch.manual_seed(0)
    block = NameBlock(8, 4, 2, pool=1)
    x, texts = random(1, 3, 4, 5, 8), random(3, 4, seed=1)
    changed = x.clone()
    changed[0, 1, 2, 3] += 1
    difference = (block(x, texts) - block(changed, texts)).abs().amax((0, 1, 4))
    assert difference[2, 3] > 1e-3
    difference[2, 3] = 0
    assert difference.max() < 1e-6


@pytest.mark.parametrize('size', [(5, 7), (4, 8), (1, 1), (2, 9)])
@pytest.mark.parametrize('names', [1, 3])
def test_shapes_of_any_grid_and_of_one_name(head, size, names):
    logits = head(*inputs(*size, names=names))
    assert logits.shape == (2, names, 4 * size[0], 4 * size[1])
    assert logits.isfinite().all()


@pytest.mark.parametrize('pool', [1, 2])
def test_another_order_of_names_is_the_same_in_that_order(pool):
    torch.manual_seed(0)
    head = OpenVocabCostHead(**SIZES, pool_size=pool)
    dense, maps, texts = inputs(names=5)
    order = torch.tensor([3, 0, 4, 1, 2])
    expected = head(dense, maps, texts)[:, order]
    torch.testing.assert_close(
        head(dense, maps, texts[order]), expected, atol=1e-5, rtol=1e-4
    )


def test_images_of_a_batch_do_not_meet(head):
    dense, maps, texts = inputs()
    both = head(dense, maps, texts)
    for i in range(2):
        alone = head(dense[i : i + 1], [m[i : i + 1] for m in maps], texts)
        torch.testing.assert_close(both[i : i + 1], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize('chunk', [1, 2, 64])
def test_names_are_enlarged_in_parts_in_a_test(head, chunk):
    dense, maps, texts = inputs(names=5)
    expected = head(dense, maps, texts)  # gradients on: all at once
    head.name_chunk = chunk
    with torch.no_grad():
        actual = head(dense, maps, texts)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)


def test_without_guidance_and_layers():
    sizes = {**SIZES, 'appearance_channels': 0, 'text_channels': 0, 'num_layers': 0}
    head = OpenVocabCostHead(**sizes)
    assert head(*inputs()).shape == (2, 3, 20, 28)
    assert not [name for name, _ in head.named_parameters() if 'text' in name]


def test_every_weight_gets_a_gradient(head):
    head(*inputs()).square().sum().backward()
    without = [n for n, p in head.named_parameters() if p.grad is None]
    assert without == []


def test_published_sizes():
    """FG-CLIP 2's table B; the head has as many weights as these sizes say."""
    head = OpenVocabCostHead()
    assert head.embed.weight.shape == (128, 1, 7, 7)
    assert [b.window_size for b in head.places] == [12] * 4
    assert [b.shifted for b in head.places] == [False, True] * 2
    assert head.places[0].attention.query.in_features == 256
    assert [s.convs[0].out_channels for s in head.decoder.stages] == [64, 32]
    assert [g[1].in_channels for g in head.decoder.guidance] == [256, 128]
    assert [g[1].out_channels for g in head.decoder.guidance] == [32, 16]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(num_heads=3), 'num_heads must divide the hidden channels 8, got 3'),
        (dict(num_layers=-1), 'num_layers must be an integer of at least 0, got -1'),
        (dict(window_size=1.5), 'window_size must be an integer of at least 0'),
        (dict(name_chunk=0), 'name_chunk must be an integer of at least 1, got 0'),
        (dict(decoder_channels=(4,)), 'need one number a stage'),
        (dict(guidance_proj_channels=(8, 2)), '8 channels of guidance leave none'),
    ],
)
def test_sizes_that_do_not_fit(change, message):
    with pytest.raises(ValueError, match=message):
        OpenVocabCostHead(**{**SIZES, **change})
