"""Windowed attention: equal to full attention under a mask, image by image."""

import copy

import pytest
import torch

from fgclip2_det.fgclip2.config import VisionConfig
from fgclip2_det.fgclip2.vision import VisionTower
from fgclip2_det.fgclip2.windows import cut_windows, evenly_spaced_blocks

GRIDS = [(5, 7), (4, 4), (1, 9)]  # windows of 3 do not divide them


@pytest.fixture
def tower():
    generator = torch.Generator().manual_seed(0)
    tower = VisionTower(VisionConfig(32, 48, 3, 4, num_patches=16)).double()
    for parameter in tower.parameters():
        parameter.data.normal_(0, 0.2, generator=generator)
    tower.window_size, tower.encoder.global_blocks = 3, (1,)
    return tower


def batch(grids, seed=1):
    """(B, N, 768) patches and (B, 1, 1, N) key mask."""
    counts = torch.tensor([h * w for h, w in grids])
    generator = torch.Generator().manual_seed(seed)
    shape = (len(grids), int(counts.max()), 768)
    patches = torch.randn(shape, generator=generator, dtype=torch.float64)
    real = torch.arange(shape[1]) < counts[:, None]
    return patches, real[:, None, None]


def window_of(grids, size, num_patches):
    """(B, N) number of each token's window, -1 for padding; token by token."""
    numbers = torch.full((len(grids), num_patches), -1)
    for i, (h, w) in enumerate(grids):
        for row in range(h):
            for column in range(w):
                numbers[i, row * w + column] = 1000 * (row // size) + column // size
    return numbers


def slow_tower(tower, patches, grids, mask):
    """Every block with all N x N scores, those outside a window set to -inf."""
    x = tower.embeddings(patches, grids)
    numbers = window_of(grids, tower.window_size, x.shape[1])
    same = (numbers[:, None] == numbers[:, :, None])[:, None] & mask
    for i, block in enumerate(tower.encoder.layers):
        sees = mask if i in tower.encoder.global_blocks else same
        heads = block.self_attn.num_heads
        normed = block.layer_norm1(x)
        q, k, v = (
            layer(normed).unflatten(-1, (heads, -1)).transpose(1, 2)
            for layer in (
                block.self_attn.q_proj, block.self_attn.k_proj, block.self_attn.v_proj
            )
        )  # fmt: skip
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        scores = scores.masked_fill(~sees, -torch.inf).softmax(-1).nan_to_num(0.0)
        out = (scores @ v).transpose(1, 2).flatten(2)
        x = x + block.self_attn.out_proj(out)
        x = x + block.mlp(block.layer_norm2(x))
    return tower.post_layernorm(x)


@pytest.mark.parametrize('grids', [GRIDS, [(5, 7)] * 2, [(6, 9)], [(2, 2)]])
def test_equals_masked_full_attention(tower, grids):
    """Outputs and gradients, of every parameter and of the patches."""
    patches, mask = batch(grids)
    actual = []
    weights = torch.randn(
        len(grids), patches.shape[1], 32, generator=torch.Generator().manual_seed(2)
    ).double()
    real = mask[:, 0, 0, :, None]
    for run in (lambda *a: tower(*a)[0], lambda *a: slow_tower(tower, *a)):
        leaf = patches.clone().requires_grad_()
        tower.zero_grad()
        tokens = run(leaf, grids, mask) * real
        (tokens * weights).sum().backward()
        actual.append([tokens, leaf.grad] + [
            p.grad.clone() for name, p in tower.named_parameters()
            if not name.startswith('head.')
        ])  # fmt: skip
    for fast, slow in zip(*actual, strict=True):
        torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-9)
    assert actual[0][0].abs().sum() > 0


def test_single_precision(tower):
    patches, mask = batch(GRIDS)
    expected = slow_tower(tower, patches, GRIDS, mask)
    actual = tower.float()(patches.float(), GRIDS, mask)[0]
    real = mask[:, 0, 0, :, None]
    torch.testing.assert_close(
        actual * real, expected.float() * real, rtol=1e-5, atol=1e-5
    )


def test_a_batch_is_its_images(tower):
    patches, mask = batch(GRIDS)
    together = tower(patches, GRIDS, mask)[0]
    for i, (h, w) in enumerate(GRIDS):
        alone = tower(patches[i : i + 1, : h * w], [(h, w)])[0]
        torch.testing.assert_close(together[i, : h * w], alone[0])


def test_a_token_sees_its_window_alone(tower):
    """The patch of a far corner moves nothing while no block is global."""
    tower.encoder.global_blocks = ()
    patches, _ = batch([(5, 7)])
    changed = patches.clone()
    changed[0, -1] += 1
    moved = (tower(patches, [(5, 7)])[0] != tower(changed, [(5, 7)])[0]).any(-1)
    rows, columns = moved.view(5, 7).nonzero().T
    assert sorted(set(rows.tolist())) == [3, 4] and set(columns.tolist()) == {6}


def test_one_window_is_full_attention(tower):
    """A window that holds the whole grid changes nothing but the order of a sum."""
    patches, mask = batch(GRIDS)
    tower.window_size = 9
    windowed = tower(patches, GRIDS, mask)[0]
    tower.window_size = 0
    real = mask[:, 0, 0, :, None]
    torch.testing.assert_close(windowed * real, tower(patches, GRIDS, mask)[0] * real)


def test_checkpointing_gives_the_same_gradients(tower):
    patches, mask = batch(GRIDS)
    other = copy.deepcopy(tower)
    other.encoder.gradient_checkpointing = True
    for each in (tower, other):
        (each(patches, GRIDS, mask)[0] * mask[:, 0, 0, :, None]).sum().backward()
    for name, parameter in tower.encoder.named_parameters():
        again = dict(other.encoder.named_parameters())[name].grad
        assert torch.equal(parameter.grad, again), name


def test_windows_of_two_grids_by_hand():
    """Tokens 0-5 lie in a 2 x 3 grid, 6-9 in a 1 x 4 one, 10 and 11 are padding."""
    windows = cut_windows(torch.tensor([[2, 3], [1, 4]]), 2, 6)
    mask = windows.mask[:, 0, 0]
    listed = [row[own].tolist() for row, own in zip(windows.index, mask, strict=True)]
    assert listed == [[0, 1, 3, 4], [2, 5], [6, 7], [8, 9]]
    x = torch.arange(12.0).view(2, 6, 1)
    joined = windows.join(windows.split(x))
    assert torch.equal(joined[0], x[0]) and torch.equal(joined[1, :4], x[1, :4])
    assert cut_windows([(4, 2), (2, 2)], 2, 8).mask is None


def test_global_blocks():
    assert evenly_spaced_blocks(12) == (2, 5, 8, 11)
    assert evenly_spaced_blocks(27) == (5, 12, 19, 26)
