"""The rank loss and its threshold against hand-made numbers and loops."""

import pytest
import torch

from pretrain.losses import cmr_loss, next_threshold

POSITIVE = torch.tensor([0.5, 0.2])
NEGATIVE = torch.tensor([[0.3, 0.6], [0.1, 9.0]])
VALID = torch.tensor([[True, True], [True, False]])
HAND = (POSITIVE, NEGATIVE, VALID)


def make(rows=6, width=3):
    draw = torch.Generator().manual_seed(0)
    positive = torch.randn(rows, generator=draw, dtype=torch.float64)
    negative = torch.randn(rows, width, generator=draw, dtype=torch.float64)
    valid = torch.rand(rows, width, generator=draw) > 0.3
    return positive.requires_grad_(), negative.requires_grad_(), valid


def loop(positive, negative, valid, threshold):
    values = [
        (negative[h, k] - positive[h] + threshold[k]).clamp(min=0)
        for h, k in valid.nonzero().tolist()
    ]
    return torch.stack(values).mean()


@pytest.mark.parametrize(
    ('threshold', 'expected'),
    [
        (0.1, 0.2 / 3),
        (torch.tensor(0.1), 0.2 / 3),
        (torch.tensor([0.3]), (0.1 + 0.1 + 0.2) / 3),
        (torch.tensor([0.3, 0.1]), 0.5 / 3),
        (torch.tensor([0.3, 0.1, 5.0]), 0.5 / 3),
    ],
)
def test_by_hand(threshold, expected):
    """n - p is -0.2, 0.1 and -0.1. With 0.1: 0, 0.2, 0. With 0.3 and 0.1 for the
    two places: 0.1, 0.2, 0.2; with 0.3 for the first alone: 0.1, 0.1, 0.2. Over 3; the
    absent 9.0 does not count."""
    loss = cmr_loss(*HAND, threshold)
    torch.testing.assert_close(loss, torch.tensor(expected))


def test_next_threshold_by_hand():
    """Mean p 0.35, mean n 1.0 / 3. By place: (0.2 + 0.1) / 2 and -0.1 / 1."""
    new = next_threshold(*HAND, per_negative=False)
    torch.testing.assert_close(new, torch.tensor(0.35 - 1 / 3))
    new = next_threshold(*HAND, per_negative=True)
    torch.testing.assert_close(new, torch.tensor([0.15, -0.1]))
    new = next_threshold(*HAND, per_negative=True, clamp=(0, 10))
    torch.testing.assert_close(new, torch.tensor([0.15, 0.0]))
    new = next_threshold(*HAND, per_negative=False, clamp=(0.5, 10))
    torch.testing.assert_close(new, torch.tensor(0.5))


def test_place_without_a_sample_keeps_its_threshold():
    previous = torch.tensor([1.0, 2.0, 3.0])
    new = next_threshold(*HAND, per_negative=True, previous=previous)
    torch.testing.assert_close(new, torch.tensor([0.15, -0.1, 3.0]))
    nothing = (POSITIVE, NEGATIVE, torch.zeros_like(VALID))
    new = next_threshold(*nothing, per_negative=True, previous=previous)
    assert torch.equal(new, previous)
    new = next_threshold(*nothing, per_negative=False, previous=0.7)
    torch.testing.assert_close(new, torch.tensor(0.7))


def test_places_are_added_when_a_step_has_more():
    """Three steps: no negatives at all, two places, three places."""
    none = torch.zeros(0), torch.zeros(0, 0), torch.zeros(0, 0).bool()
    threshold = next_threshold(*none, per_negative=True, previous=torch.tensor(0.0))
    assert threshold.shape == ()
    threshold = next_threshold(*HAND, per_negative=True, previous=threshold)
    torch.testing.assert_close(threshold, torch.tensor([0.15, -0.1]))
    more = (
        torch.ones(1),
        torch.tensor([[0.4, 0.0, 0.7]]),
        torch.tensor([[True, False, True]]),
    )
    assert torch.isfinite(cmr_loss(*more, threshold))
    threshold = next_threshold(*more, per_negative=True, previous=threshold)
    torch.testing.assert_close(threshold, torch.tensor([0.6, -0.1, 0.3]))
    threshold = next_threshold(*none, per_negative=True, previous=threshold)
    torch.testing.assert_close(threshold, torch.tensor([0.6, -0.1, 0.3]))


def test_row_without_a_negative_is_no_sample():
    """Its p = 99 moves neither the loss nor the threshold."""
    rows = (
        torch.cat([POSITIVE, torch.tensor([99.0])]),
        torch.cat([NEGATIVE, torch.zeros(1, 2)]),
        torch.cat([VALID, torch.zeros(1, 2, dtype=torch.bool)]),
    )
    for per_negative in (False, True):
        new = next_threshold(*rows, per_negative=per_negative)
        old = next_threshold(*HAND, per_negative=per_negative)
        torch.testing.assert_close(new, old)
    torch.testing.assert_close(cmr_loss(*rows, 0.1), cmr_loss(*HAND, 0.1))


def test_equals_loop_with_gradients():
    inputs, again = make(), make()
    threshold = torch.tensor([0.3, -0.2, 0.9], dtype=torch.float64)
    loss, expected = cmr_loss(*inputs, threshold), loop(*again, threshold)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    for x, y in zip(inputs[:2], again[:2], strict=True):
        torch.testing.assert_close(x.grad, y.grad)


def test_gradcheck():
    positive, negative, valid = make()
    assert torch.autograd.gradcheck(
        lambda p, n: cmr_loss(p, n, valid, 0.4), (positive, negative)
    )


def test_thresholds_have_no_gradient():
    positive, negative, valid = make()
    threshold = torch.tensor(0.3, requires_grad=True)
    cmr_loss(positive, negative, valid, threshold).backward()
    assert threshold.grad is None
    for per_negative in (False, True):
        new = next_threshold(positive, negative, valid, per_negative=per_negative)
        assert not new.requires_grad


@pytest.mark.parametrize('width', [0, 3])
@pytest.mark.parametrize('rows', [0, 4])
def test_nothing_to_rank(rows, width):
    """Exactly 0, with zero gradients rather than none; the threshold stays."""
    positive, negative, valid = make(rows, width)
    valid = torch.zeros_like(valid)
    loss = cmr_loss(positive, negative, valid, 0.3)
    loss.backward()
    assert loss == 0
    for x in (positive, negative):
        assert x.grad is not None
        assert not x.grad.any()
    samples = (positive, negative, valid)
    assert next_threshold(*samples, per_negative=False, previous=2) == 2
    new = next_threshold(*samples, per_negative=True, previous=2)
    assert new.tolist() == ([2] * width if width else 2)


def test_bfloat16_and_autocast_give_float32():
    positive, negative = POSITIVE.bfloat16(), NEGATIVE.bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        loss = cmr_loss(positive, negative, VALID, 0.1)
        new = next_threshold(positive, negative, VALID, per_negative=False)
    assert loss.dtype == new.dtype == torch.float32
    assert loss == cmr_loss(positive.float(), negative.float(), VALID, 0.1)


@pytest.mark.parametrize(
    ('samples', 'message'),
    [
        ((POSITIVE[:1], NEGATIVE, VALID), r'got \(1,\) and \(2, 2\)'),
        ((POSITIVE, NEGATIVE, VALID[:1]), r'valid must be bool and \(2, 2\)'),
        ((POSITIVE, NEGATIVE, VALID.long()), 'got torch.int64'),
    ],
)
def test_errors(samples, message):
    with pytest.raises(ValueError, match=message):
        cmr_loss(*samples, 0.1)
    with pytest.raises(ValueError, match=message):
        next_threshold(*samples, per_negative=False)


def test_threshold_errors():
    square = torch.zeros(2, 2)
    with pytest.raises(ValueError, match=r'one number \(\) or .* got \(2, 2\)'):
        cmr_loss(*HAND, square)
    with pytest.raises(ValueError, match=r'one number \(\) or .* got \(2, 2\)'):
        next_threshold(*HAND, per_negative=True, previous=square)
    with pytest.raises(ValueError, match=r'without per_negative, got \(3,\)'):
        next_threshold(*HAND, per_negative=False, previous=torch.zeros(3))
