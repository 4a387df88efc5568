"""Pre-ranking: by hand, against a slow loop, gradients, and where nothing is there."""

import math

import pytest
import torch
import torch.nn.functional as F

from pretrain.losses import clamp_temperature, contrastive_loss, pre_ranking_loss


def unit(count: int, dims: int = 4, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, dims, generator=draw, dtype=torch.float64)
    return F.normalize(rows, dim=1)


def keys(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.long)


def slow_loss(images, texts, temperature, image_keys, text_keys=None) -> float:
    """The formula of the docstring, one number at a time."""
    count = len(images)
    total = 0.0
    for i in range(count):
        matches = []
        for j in range(count):
            same = i == j or image_keys[i] == image_keys[j] != -1
            if text_keys is not None:
                same = same or text_keys[i] == text_keys[j] != -1
            matches.append(bool(same))
        for queries, answers in ((images, texts), (texts, images)):
            scores = [float(queries[i] @ answers[j]) / temperature
                      for j in range(count)]  # fmt: skip
            norm = math.log(sum(math.exp(score) for score in scores))
            for j in range(count):
                if matches[j]:
                    total -= (scores[j] - norm) / sum(matches)
    return total / (2 * count)


def test_by_hand():
    """Identity embeddings, temperature 1, keys 5, 5, 6. Row 0: softmax of (1, 0, 0),
    norm log(e + 2) = 1.5514447; half of the target at each of the first two:
    norm - 1/2. Row 2: norm - 1. Rows 0 and 1 are alike, and so are the directions:
    (2 (norm - 0.5) + norm - 1) / 3."""
    eye = torch.eye(3)
    loss = pre_ranking_loss(eye, eye, torch.ones(1), keys(5, 5, 6))
    norm = math.log(math.e + 2)
    torch.testing.assert_close(loss, torch.tensor((3 * norm - 2) / 3))


@pytest.mark.parametrize('text_keys', [None, keys(1, 2, 3, 2, -1, -1, 1)])
def test_equals_a_slow_loop(text_keys):
    images, texts, image_keys = unit(7), unit(7, seed=1), keys(0, 0, 1, 2, -1, -1, 1)
    loss = pre_ranking_loss(images, texts, torch.tensor(0.07), image_keys, text_keys)
    assert loss.dtype == torch.float64
    expected = slow_loss(images, texts, 0.07, image_keys, text_keys)
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_without_equal_images_it_is_clips_loss():
    images, texts = unit(6).requires_grad_(), unit(6, seed=1).requires_grad_()
    ours = pre_ranking_loss(images, texts, torch.tensor(0.2), torch.arange(6))
    scale = torch.tensor(0.2, dtype=torch.float64).log().neg()
    theirs = contrastive_loss(images, texts, scale)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)
    for leaf in (images, texts):
        first = torch.autograd.grad(ours, leaf, retain_graph=True)[0]
        second = torch.autograd.grad(theirs, leaf, retain_graph=True)[0]
        torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-9)


def test_gradcheck():
    leaves = [unit(4).requires_grad_(), unit(4, seed=1).requires_grad_()]
    leaves.append(torch.tensor(0.3, dtype=torch.float64, requires_grad=True))

    def loss(images, texts, temperature):
        return pre_ranking_loss(images, texts, temperature, keys(0, 1, 0, -1))

    assert torch.autograd.gradcheck(loss, leaves)


def test_permuted_pairs_and_a_batch_of_one():
    images, texts, image_keys = unit(5), unit(5, seed=1), keys(0, 1, 1, 2, 0)
    order = torch.tensor([3, 1, 4, 0, 2])
    temperature = torch.tensor(0.1)
    torch.testing.assert_close(
        pre_ranking_loss(images, texts, temperature, image_keys),
        pre_ranking_loss(images[order], texts[order], temperature, image_keys[order]),
    )
    one = pre_ranking_loss(images[:1], texts[:1], temperature, image_keys[:1])
    assert one == 0  # nothing to confuse it with


def test_empty():
    images = torch.zeros(0, 4, requires_grad=True)
    loss = pre_ranking_loss(images, images, torch.tensor(0.1), keys())
    loss.backward()
    assert loss == 0 and images.grad.shape == (0, 4)


def test_half_precision_is_computed_in_float32():
    images, texts = unit(6).bfloat16(), unit(6, seed=1).bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        loss = pre_ranking_loss(images, texts, torch.tensor(0.07), torch.arange(6))
    expected = pre_ranking_loss(
        images.float(), texts.float(), torch.tensor(0.07), torch.arange(6)
    )
    assert loss.dtype == torch.float32 and torch.equal(loss, expected)


def test_temperature_stays_between_its_limits():
    for value, expected in ((0.9, 0.5), (-3.0, 0.001), (0.07, 0.07)):
        temperature = torch.nn.Parameter(torch.tensor(value))
        clamp_temperature(temperature)
        assert temperature.item() == pytest.approx(expected)
    clamp_temperature(temperature, (0.1, 0.2))
    assert temperature.item() == pytest.approx(0.1)


def test_bad_input():
    with pytest.raises(ValueError, match='a caption for each image'):
        pre_ranking_loss(unit(2), unit(3), torch.ones(1), keys(0, 1))
    with pytest.raises(ValueError, match=r'image_keys must be \(2,\)'):
        pre_ranking_loss(unit(2), unit(2), torch.ones(1), keys(0, 1, 2))
