"""Masked language modelling: shares of hidden tokens, and the loss by hand."""

import math

import pytest
import torch

from pretrain.losses import mask_tokens, masked_language_loss

MASK, RANDOM = 4, (5, 50)


def texts(count: int, length: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens from 100 on, so that a random one is told apart; the last two of each
    text must not be hidden."""
    ids = 100 + torch.arange(count * length).reshape(count, length)
    maskable = torch.ones(count, length, dtype=torch.bool)
    maskable[:, -2:] = False
    return ids, maskable


def test_shares_of_a_large_sample():
    ids, maskable = texts(4000)
    masked, targets = mask_tokens(ids, maskable, MASK, RANDOM, seed=0)
    told = targets >= 0
    assert not told[~maskable].any() and torch.equal(targets[told], ids[told])
    assert torch.equal(masked[~told], ids[~told])
    assert float(told[maskable].float().mean()) == pytest.approx(0.15, abs=0.006)
    kinds = masked[told]
    is_mask, is_random = kinds == MASK, (kinds >= RANDOM[0]) & (kinds < RANDOM[1])
    assert float(is_mask.float().mean()) == pytest.approx(0.8, abs=0.02)
    assert float(is_random.float().mean()) == pytest.approx(0.1, abs=0.02)
    kept = ~is_mask & ~is_random
    assert torch.equal(kinds[kept], ids[told][kept])
    assert set(range(*RANDOM)) == set(kinds[is_random].tolist())


def test_a_seed_is_a_draw():
    ids, maskable = texts(6)
    first, again, other = (
        mask_tokens(ids, maskable, MASK, RANDOM, seed=seed) for seed in (1, 1, 2)
    )
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])


def test_all_and_none():
    ids, maskable = texts(3)
    options = dict(rate=1.0, mask_share=1.0, random_share=0.0)
    masked, targets = mask_tokens(ids, maskable, MASK, RANDOM, seed=0, **options)
    assert (masked[maskable] == MASK).all()
    assert torch.equal(targets[maskable], ids[maskable])
    masked, targets = mask_tokens(ids, maskable, MASK, RANDOM, seed=0, rate=0.0)
    assert torch.equal(masked, ids) and (targets == -1).all()
    masked, targets = mask_tokens(ids[:0], maskable[:0], MASK, RANDOM, seed=0)
    assert masked.shape == targets.shape == (0, 12)


def test_loss_by_hand():
    """Probabilities 3/4 and 1/2 of the tokens."""
    logits = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]])
    loss = masked_language_loss(logits, torch.tensor([0, 1]))
    expected = (math.log(4 / 3) + math.log(2)) / 2
    torch.testing.assert_close(loss, torch.tensor(expected))


def test_loss_gradients_and_nothing():
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 5, generator=draw, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0, 4, 2])
    assert torch.autograd.gradcheck(
        lambda x: masked_language_loss(x, targets), [logits]
    )
    loss = masked_language_loss(logits[:0], targets[:0])
    loss.backward()
    assert loss == 0 and (logits.grad == 0).all()


def test_bad_input():
    ids, maskable = texts(2)
    with pytest.raises(
        ValueError, match=r'must lie in \[0, 1\], got 0.15, 0.8 and 0.3'
    ):
        mask_tokens(ids, maskable, MASK, RANDOM, seed=0, random_share=0.3)
    with pytest.raises(ValueError, match=r'\(2, 12\) and \(1, 12\)'):
        mask_tokens(ids, maskable[:1], MASK, RANDOM, seed=0)
    with pytest.raises(ValueError, match=r'\(3, 5\) and \(2,\)'):
        masked_language_loss(torch.zeros(3, 5), torch.zeros(2).long())
