"""The loss among region texts against hand-made numbers and a loop over rows."""

import pytest
import torch
import torch.nn.functional as F

from pretrain.losses import tic_loss

KEYS = torch.tensor([1, 2, 3, 1, 4, 2, 5, 6])


def make(num=8, dim=4):
    """Normalised texts, a leaf; 6 is 0.99 similar to 4."""
    draw = torch.Generator().manual_seed(0)
    texts = F.normalize(torch.randn(num, dim, generator=draw, dtype=torch.float64))
    if num > 6:
        texts[6] = F.normalize(texts[4] + 0.1 * texts[2], dim=0)
    return texts.requires_grad_()


def loop(texts, keys, similar, reduction, topk):
    total = texts.sum() * 0
    for i, text in enumerate(texts):
        values = []
        for j, other in enumerate(texts):
            cosine = text @ other
            copy = keys is not None and keys[i] == keys[j] and similar == 'remove'
            if i != j and cosine <= 0.95 and not copy:
                values.append(cosine)
            elif similar == 'zero':
                values.append(cosine * 0)
        values = sorted(values, reverse=True)[:topk]
        if values:
            total = total + torch.stack(values).exp().sum().log()
    return total / len(texts) if reduction == 'mean' else total


@pytest.mark.parametrize(
    ('similar', 'topk', 'expected'),
    [
        ('remove', 1, 0.6 + 0.8 + 0.8),
        ('remove', 10, 1.0374879 + 1.1711007 + 1.3981389),
        ('zero', 10, 1.3408049 + 1.4411473 + 1.6189247),
    ],
)
def test_by_hand(similar, topk, expected):
    """Texts e0, e1, (0.6, 0.8): cosines 0, 0.6, 0.8.

    The most similar one alone: log e^S = S, that is 0.6, 0.8, 0.8. Both others:
    log(1 + e^0.6), log(1 + e^0.8), log(e^0.6 + e^0.8). With the diagonal as a 0 each
    sum has 1 more.
    """
    texts = torch.tensor([[1.0, 0], [0, 1], [0.6, 0.8]])
    loss = tic_loss(texts, similar=similar, reduction='sum', topk=topk)
    torch.testing.assert_close(loss, torch.tensor(expected))
    mean = tic_loss(texts, similar=similar, topk=topk)
    torch.testing.assert_close(mean, torch.tensor(expected / 3))


def test_similar_pair_by_hand():
    """e0 twice and e1. Removed: log 1 for each e0, log 2 for e1. As zeros: log 3
    each. Without a threshold: log(e + 1) = 1.3132617 for each e0, unless keys say
    that they are copies."""
    texts = torch.tensor([[1.0, 0], [1, 0], [0, 1]])
    loss = tic_loss(texts, reduction='sum')
    torch.testing.assert_close(loss, torch.tensor(0.6931472))
    loss = tic_loss(texts, reduction='sum', similar='zero')
    torch.testing.assert_close(loss, torch.tensor(3 * 1.0986123))
    open_to_all = {'reduction': 'sum', 'threshold': 1.0}
    loss = tic_loss(texts, **open_to_all)
    torch.testing.assert_close(loss, torch.tensor(2 * 1.3132617 + 0.6931472))
    loss = tic_loss(texts, text_keys=torch.tensor([8, 8, 9]), **open_to_all)
    torch.testing.assert_close(loss, torch.tensor(0.6931472))


@pytest.mark.parametrize('topk', [2, 10])
@pytest.mark.parametrize('keys', [None, KEYS])
@pytest.mark.parametrize('similar', ['remove', 'zero'])
@pytest.mark.parametrize('reduction', ['mean', 'sum'])
def test_equals_loop_with_gradients(similar, reduction, keys, topk):
    texts, again = make(), make()
    options = {'similar': similar, 'reduction': reduction, 'topk': topk}
    loss, expected = (
        tic_loss(texts, text_keys=keys, **options),
        loop(again, keys, **options),
    )
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(texts.grad, again.grad)


@pytest.mark.parametrize('similar', ['remove', 'zero'])
def test_gradcheck(similar):
    def loss(texts):
        return tic_loss(texts, text_keys=KEYS, similar=similar, topk=3)

    assert torch.autograd.gradcheck(loss, make(dim=3))


def test_missing_texts_are_left_out():
    texts = make()
    keys = KEYS.clone()
    keys[[1, 5]] = -1
    loss = tic_loss(texts, text_keys=keys)
    loss.backward()
    rest = tic_loss(texts[keys >= 0], text_keys=keys[keys >= 0])
    torch.testing.assert_close(loss, rest)
    assert not texts.grad[[1, 5]].any()


@pytest.mark.parametrize('reduction', ['mean', 'sum'])
@pytest.mark.parametrize('similar', ['remove', 'zero'])
@pytest.mark.parametrize('num', [0, 1])
def test_no_other_text(num, similar, reduction):
    """Exactly 0 (one text: log e^0 with the diagonal as 0), with zero gradients."""
    texts = make(num)
    loss = tic_loss(texts, similar=similar, reduction=reduction)
    loss.backward()
    assert loss == 0
    assert not texts.grad.any()


def test_copies_of_one_text_alone():
    """Nothing is left for any row: 0, and a gradient of 0 rather than nan."""
    texts = make(1).detach().expand(4, -1).clone().requires_grad_()
    loss = tic_loss(texts)
    loss.backward()
    assert loss == 0
    assert torch.equal(texts.grad, torch.zeros_like(texts))


def test_bfloat16_embeddings_and_autocast_give_float32_logits():
    texts = make().detach().bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        loss = tic_loss(texts)
    assert loss.dtype == torch.float32
    assert loss == tic_loss(texts.float())


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'similar': 'keep'}, "similar must be one of .* got 'keep'"),
        ({'reduction': 'none'}, "reduction must be one of .* got 'none'"),
        ({'topk': 0}, 'topk must be 1 or more, got 0'),
        ({'text_keys': KEYS[:3]}, r'text_keys must be \(8,\), got \(3,\)'),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        tic_loss(make(), **options)
    with pytest.raises(ValueError, match=r'must be \(R, D\), got \(4,\)'):
        tic_loss(torch.zeros(4))
