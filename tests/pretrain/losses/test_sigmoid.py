"""The tiled sigmoid loss against hand-made numbers and a loop over pairs."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from pretrain.losses import sigmoid_loss

KEYS = torch.tensor([3, 5, 3, -1, 7, 5, 3])


def make(num=7, dim=4, seed=0, dtype=torch.float64):
    """Normalised images and texts, a log scale and a bias, all leaves."""
    draw = torch.Generator().manual_seed(seed)
    embeds = [
        F.normalize(torch.randn(num, dim, generator=draw, dtype=dtype), dim=1)
        for _ in range(2)
    ]
    numbers = [torch.tensor([1.3], dtype=dtype), torch.tensor([-0.7], dtype=dtype)]
    return [x.requires_grad_() for x in (*embeds, *numbers)]


def loop(images, texts, logit_scale, logit_bias, keys=None, same_text='negative'):
    """Pair by pair, as the equation reads."""
    rows = [i for i in range(len(images)) if keys is None or keys[i] >= 0]
    total = (images.sum() + texts.sum() + logit_scale.sum() + logit_bias.sum()) * 0
    for i in rows:
        for j in rows:
            logit = logit_scale[0].exp() * (images[i] @ texts[j]) + logit_bias[0]
            sign = 1 if i == j else -1
            if i != j and keys is not None and keys[i] == keys[j]:
                sign = {'negative': -1, 'positive': 1, 'ignore': 0}[same_text]
            if sign:
                total = total - F.logsigmoid(sign * logit)
    return total / max(len(rows), 1)


@pytest.mark.parametrize(
    ('same_text', 'expected'),
    [
        ('negative', 0.1269280 + 1.3132617),
        ('positive', 0.1269280 + 0.3132617),
        ('ignore', 0.1269280),
    ],
)
def test_by_hand(same_text, expected):
    """Identity embeddings, scale e^0, bias 1: logit 2 on the diagonal, 1 off it.

    Per image softplus(-2) = 0.1269280 for its own text, and for the other one, which
    has the same key, softplus(1) = 1.3132617 as a negative, softplus(-1) = 0.3132617
    as a positive, nothing when ignored. Two images, divided by two. The third pair
    has no text and counts nowhere.
    """
    embeds = torch.eye(3)
    loss = sigmoid_loss(
        embeds,
        embeds,
        torch.zeros(1),
        torch.ones(1),
        text_keys=torch.tensor([4, 4, -1]),
        same_text=same_text,
    )
    torch.testing.assert_close(loss, torch.tensor(expected))


@pytest.mark.parametrize(
    ('chunk_size', 'gather_size'), [(1, 1), (3, 5), (7, 7), (2, 100), (100, 4)]
)
@pytest.mark.parametrize(
    ('keys', 'same_text'),
    [(None, 'negative')] + [(KEYS, s) for s in ('negative', 'positive', 'ignore')],
)
def test_equals_loop_with_gradients(keys, same_text, chunk_size, gather_size):
    inputs, again = make(), make()
    options = {'text_keys': keys, 'same_text': same_text, 'chunk_size': chunk_size}
    options['gather_size'] = gather_size
    loss, expected = sigmoid_loss(*inputs, **options), loop(*again, keys, same_text)
    torch.testing.assert_close(loss, expected)
    (3 * loss).backward()
    (3 * expected).backward()
    for x, y in zip(inputs, again, strict=True):
        torch.testing.assert_close(x.grad, y.grad)


@pytest.mark.parametrize('same_text', ['negative', 'positive', 'ignore'])
def test_gradcheck(same_text):
    def loss(*inputs):
        options = {'text_keys': KEYS, 'same_text': same_text, 'chunk_size': 2}
        return sigmoid_loss(*inputs, **options)

    assert torch.autograd.gradcheck(loss, make(dim=3))


@pytest.mark.parametrize('trained', range(4))
def test_gradient_of_one_input_alone(trained):
    """Frozen towers or a fixed scale change nothing for the rest."""
    inputs, again = make(), make()
    for i, x in enumerate(inputs):
        x.requires_grad_(i == trained)
    sigmoid_loss(*inputs).backward()
    loop(*again).backward()
    torch.testing.assert_close(inputs[trained].grad, again[trained].grad)
    assert all(x.grad is None for i, x in enumerate(inputs) if i != trained)


def test_no_gradient_no_graph():
    inputs = make()
    with torch.no_grad():
        loss = sigmoid_loss(*inputs)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, loop(*inputs).detach())


@pytest.mark.parametrize('keys', [None, torch.zeros(0).long()])
def test_no_pairs(keys):
    """Exactly 0, with zero gradients rather than none."""
    inputs = make(0)
    loss = sigmoid_loss(*inputs, text_keys=keys)
    loss.backward()
    assert loss == 0
    assert all(x.grad is not None and not x.grad.any() for x in inputs)


def test_no_texts():
    inputs = make(3)
    loss = sigmoid_loss(*inputs, text_keys=torch.full((3,), -1))
    loss.backward()
    assert loss == 0
    assert all(x.grad is not None and not x.grad.any() for x in inputs)


def test_confident_pairs_keep_their_small_loss():
    """Logit 20 on the diagonal, -20 off it: softplus(-20) = 2.0611537e-9 a pair,
    which 1 - sigmoid or log(sigmoid) in float32 would round to 0."""
    embeds = torch.eye(2)
    loss = sigmoid_loss(embeds, embeds, torch.tensor(40.0).log(), torch.tensor(-20.0))
    torch.testing.assert_close(loss, torch.tensor(4.1223073e-9), rtol=1e-4, atol=0)


def test_bfloat16_embeddings_and_autocast_give_float32_logits():
    images, texts, scale, bias = make(dtype=torch.float32)
    half = [x.detach().bfloat16().requires_grad_() for x in (images, texts)]
    wide = [x.detach().float().requires_grad_() for x in half]
    with torch.autocast('cpu', torch.bfloat16):
        loss = sigmoid_loss(*half, scale, bias)
    expected = sigmoid_loss(*wide, scale, bias)
    assert loss.dtype == torch.float32
    assert loss == expected
    loss.backward()
    expected.backward()
    for x, y in zip(half, wide, strict=True):
        assert x.grad.dtype == torch.bfloat16
        assert torch.equal(x.grad, y.grad.bfloat16())


class LargestTensor(TorchDispatchMode):
    """Remembers the largest number of elements that any operation returned."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for x in result if isinstance(result, tuple | list) else (result,):
            if isinstance(x, torch.Tensor):
                self.largest = max(self.largest, x.numel())
        return result


@pytest.mark.parametrize('same_text', ['negative', 'positive', 'ignore'])
def test_no_tensor_of_all_pairs(same_text):
    """500 pairs, D = 8: nothing is larger than the embeddings, far below 500^2."""
    num, dim, chunk = 500, 8, 50
    inputs = make(num, dim)
    keys = torch.arange(num) // 2
    with LargestTensor() as watch:
        options = {'text_keys': keys, 'same_text': same_text, 'chunk_size': chunk}
        sigmoid_loss(*inputs, **options).backward()
    assert watch.largest == max(num * dim, chunk * chunk)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'text_embeds': torch.zeros(2, 4)}, r'both be \(B, D\), got \(3, 4\)'),
        ({'same_text': 'maybe'}, "same_text must be one of .* got 'maybe'"),
        ({'same_text': 'ignore'}, "same_text='ignore' needs text_keys"),
        ({'text_keys': torch.zeros(2).long()}, r'text_keys must be \(3,\), got \(2,\)'),
        ({'chunk_size': 0}, 'chunk_size must be 1 or more, got 0'),
        ({'gather_size': 0}, 'gather_size must be 1 or more, got 0'),
    ],
)
def test_errors(change, message):
    images, texts, scale, bias = make(3)
    arguments = {
        'image_embeds': images,
        'text_embeds': texts,
        'logit_scale': scale,
        'logit_bias': bias,
    }
    with pytest.raises(ValueError, match=message):
        sigmoid_loss(**{**arguments, **change})
