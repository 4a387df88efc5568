"""The matching loss and its negatives: by hand, against slow loops, and where nothing
is there."""

import math

import pytest
import torch
import torch.nn.functional as F

from fgclip2_det.ranker import MatchLogits
from pretrain.losses import draw_negatives, matching_loss


def unit(count: int, dims: int, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, dims, generator=draw, dtype=torch.float64)
    return F.normalize(rows, dim=1)


def keys(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.long)


# ------------------------------------------------------------------------- the loss
def test_by_hand():
    """Text encoder: logits (0, 0) and (0, ln 3): P(yes) 1/2 and 3/4. Image encoder:
    (0, ln 3) for both. Targets no, yes: ((ln 2 + ln 4) / 2 + 2 ln(4/3)) / 3."""
    yes = math.log(3)
    text = torch.tensor([[[0, 0], [0, yes]]])
    image = torch.tensor([[[0, yes], [0, yes]]])
    targets = torch.tensor([[False, True]])
    loss = matching_loss(MatchLogits(text, image), targets)
    expected = ((math.log(2) + math.log(4)) / 2 + 2 * math.log(4 / 3)) / 3
    torch.testing.assert_close(loss, torch.tensor(expected))
    one = matching_loss(MatchLogits(text, None), targets, class_weights=(1, 1))
    expected = (math.log(2) + math.log(4 / 3)) / 2
    torch.testing.assert_close(one, torch.tensor(expected))


def test_double_softmax_by_hand():
    """Mean probabilities of a match 5/8 and 3/4, as above: cross entropy of
    (3/8, 5/8) for "no" is log(e^3/8 + e^5/8) - 3/8; for "yes" (1/4, 3/4) likewise."""
    yes = math.log(3)
    text = torch.tensor([[[0, 0], [0, yes]]])
    image = torch.tensor([[[0, yes], [0, yes]]])
    loss = matching_loss(
        MatchLogits(text, image), torch.tensor([[False, True]]), double_softmax=True
    )
    no = math.log(math.exp(3 / 8) + math.exp(5 / 8)) - 3 / 8
    match = math.log(math.exp(1 / 4) + math.exp(3 / 4)) - 3 / 4
    torch.testing.assert_close(loss, torch.tensor((no + 2 * match) / 3))


def test_bounds_of_the_double_softmax():
    """Whatever the logits, it lies between log(1 + 1/e) and log(1 + e)."""
    sure = torch.tensor([[[50.0, -50.0], [-50.0, 50.0]]])
    right = torch.tensor([[False, True]])
    for targets, bound in ((right, 1 + math.exp(-1)), (~right, 1 + math.e)):
        loss = matching_loss(MatchLogits(sure, sure), targets, double_softmax=True)
        torch.testing.assert_close(loss, torch.tensor(math.log(bound)))


@pytest.mark.parametrize('sides', ['both', 'text', 'image'])
def test_equals_cross_entropy(sides):
    draw = torch.Generator().manual_seed(0)
    text, image = torch.randn(2, 3, 5, 2, generator=draw, requires_grad=True).unbind()
    targets = torch.rand(3, 5, generator=draw) < 0.4
    parts = dict(both=[text, image], text=[text], image=[image])[sides]
    logits = MatchLogits(
        text if sides != 'image' else None, image if sides != 'text' else None
    )
    weight = torch.tensor([1.0, 2.0])
    expected = sum(
        F.cross_entropy(part.flatten(0, 1), targets.flatten().long(), weight)
        for part in parts
    ) / len(parts)
    actual = matching_loss(logits, targets)
    torch.testing.assert_close(actual, expected)
    for part in parts:
        ours = torch.autograd.grad(actual, part, retain_graph=True)[0]
        theirs = torch.autograd.grad(expected, part, retain_graph=True)[0]
        torch.testing.assert_close(ours, theirs)


def test_only_ratios_of_weights_count():
    text = torch.randn(1, 1, 2, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[True]])
    losses = [
        matching_loss(MatchLogits(text, None), targets, class_weights=weights)
        for weights in ((1, 2), (0.01, 0.02), (0, 1))
    ]
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(losses[0], losses[2])
    none = matching_loss(MatchLogits(text, None), ~targets, class_weights=(0, 1))
    assert none == 0


def test_pairs_that_do_not_count():
    draw = torch.Generator().manual_seed(0)
    text = torch.randn(2, 3, 2, generator=draw)
    targets = torch.tensor([[True, False, False]] * 2)
    valid = torch.tensor([[True, True, False], [True, False, True]])
    rest = text[valid][None], targets[valid][None]
    torch.testing.assert_close(
        matching_loss(MatchLogits(text, text), targets, valid=valid),
        matching_loss(MatchLogits(rest[0], rest[0]), rest[1]),
    )


@pytest.mark.parametrize('shape', [(0, 3), (3, 0), (0, 0)])
@pytest.mark.parametrize('double_softmax', [False, True])
def test_nothing(shape, double_softmax):
    text = torch.zeros(*shape, 2, requires_grad=True)
    loss = matching_loss(
        MatchLogits(text, text),
        torch.zeros(shape).bool(),
        double_softmax=double_softmax,
    )
    loss.backward()
    assert loss == 0 and text.grad.shape == text.shape


@pytest.mark.parametrize('double_softmax', [False, True])
def test_gradcheck(double_softmax):
    draw = torch.Generator().manual_seed(0)
    parts = torch.randn(2, 2, 3, 2, generator=draw, dtype=torch.float64)
    targets = torch.tensor([[True, False, False], [False, True, True]])

    def loss(text, image):
        logits = MatchLogits(text, image)
        return matching_loss(logits, targets, double_softmax=double_softmax)

    assert torch.autograd.gradcheck(loss, [part.requires_grad_() for part in parts])


def test_bad_input_of_the_loss():
    text, targets = torch.zeros(2, 3, 2), torch.zeros(2, 3).bool()
    logits = MatchLogits(text, None)
    with pytest.raises(ValueError, match=r'parts \(K, k, 2\)'):
        matching_loss(MatchLogits(None, None), targets)
    with pytest.raises(ValueError, match=r'\(2, 3, 2\).*\(3, 2\)'):
        matching_loss(logits, targets.T)
    with pytest.raises(ValueError, match='must be bool'):
        matching_loss(logits, targets.long())
    with pytest.raises(ValueError, match='valid must be bool'):
        matching_loss(logits, targets, valid=targets[:1])
    for weights in ((1,), (0, 0), (-1, 2)):
        with pytest.raises(ValueError, match='class_weights'):
            matching_loss(logits, targets, class_weights=weights)


# ---------------------------------------------------------------------- the negatives
def test_frequencies_are_the_softmax():
    """Three pairs, the third's image is the first's. For these only text 1 is left; for
    image 1 the texts 0 and 2 in the ratio of their exponentials, at temperature 0.5."""
    images = F.normalize(torch.tensor([[1.0, 0.3], [0.2, 1.0], [1.0, 0.3]]), dim=1)
    texts = F.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]), dim=1)
    logits = (images @ texts.T)[1] / 0.5
    expected = (logits[0].exp() / (logits[0].exp() + logits[2].exp())).item()
    drawn = [
        draw_negatives(images, texts, 0.5, keys(7, 8, 7), seed=seed).text.tolist()
        for seed in range(2000)
    ]
    assert {(row[0], row[2]) for row in drawn} == {(1, 1)}
    assert {row[1] for row in drawn} == {0, 2}
    share = sum(row[1] == 0 for row in drawn) / len(drawn)
    deviation = math.sqrt(expected * (1 - expected) / len(drawn))
    assert abs(share - expected) < 4 * deviation


def test_equals_a_slow_loop():
    """The definition, row by row: renormalise what does not match, walk along it."""
    images, texts = unit(7, 4, 0), unit(7, 4, 1)
    image_keys, text_keys = keys(0, 1, 0, 2, 3, -1, -1), keys(5, 6, 7, 6, -1, 8, 8)
    drawn = draw_negatives(images, texts, 0.1, image_keys, text_keys, seed=3)
    generator = torch.Generator().manual_seed(3)
    numbers = torch.rand(2, 7, generator=generator, dtype=torch.float64)
    sides = (drawn.image, texts, images), (drawn.text, images, texts)
    for (actual, queries, answers), row in zip(sides, numbers, strict=True):
        for i in range(7):
            weights = []
            for j in range(7):
                same_image = image_keys[i] == image_keys[j] != -1
                same_text = text_keys[i] == text_keys[j] != -1
                matches = i == j or same_image or same_text
                cosine = float(queries[i] @ answers[j])
                weights.append(0.0 if matches else math.exp(cosine / 0.1))
            point, place = float(row[i]) * sum(weights), 0
            while point >= weights[place]:
                point -= weights[place]
                place += 1
            assert actual[i] == place


def test_never_a_match_and_reproducible():
    images, texts = unit(40, 8, 0), unit(40, 8, 1)
    image_keys = torch.arange(40) // 3
    first, again, other = (
        draw_negatives(images, texts, 0.05, image_keys, seed=seed) for seed in (4, 4, 5)
    )
    for one, same in zip(first, again, strict=True):
        assert torch.equal(one, same)
        assert (image_keys[one] != image_keys).all()
    assert not torch.equal(first.text, other.text)


def test_a_cold_temperature_draws_the_nearest():
    """At 0.001 the own text holds all of the softmax in float32; without it the
    nearest other one is left."""
    images = unit(6, 3)
    drawn = draw_negatives(images, images, 0.001, torch.arange(6), seed=0)
    nearest = (images @ images.T).fill_diagonal_(-2).argmax(1)
    assert torch.equal(drawn.text, nearest) and torch.equal(drawn.image, nearest)


@pytest.mark.parametrize('image_keys', [keys(3), keys(-1), keys(4, 4, 4)])
def test_no_negative_is_said(image_keys):
    """A batch of one, and one whose pairs all match each other."""
    images = unit(len(image_keys), 4).requires_grad_()
    drawn = draw_negatives(images, images, 0.1, image_keys, seed=0)
    assert drawn.image.tolist() == drawn.text.tolist() == [-1] * len(image_keys)


def test_empty():
    drawn = draw_negatives(unit(0, 4), unit(0, 4), 0.1, keys(), keys(), seed=0)
    assert [part.shape for part in drawn] == [(0,), (0,)]


def test_bad_input_of_the_draw():
    images = unit(2, 4)
    with pytest.raises(ValueError, match=r"among must be one of.*'rank'"):
        draw_negatives(images, images, 0.1, keys(0, 1), seed=0, among='rank')
    with pytest.raises(ValueError, match='a caption for each image'):
        draw_negatives(images, images[:1], 0.1, keys(0, 1), seed=0)
    with pytest.raises(ValueError, match=r'image_keys must be \(2,\)'):
        draw_negatives(images, images, 0.1, keys(0), seed=0)
    with pytest.raises(ValueError, match=r'text_keys must be \(2,\)'):
        draw_negatives(images, images, 0.1, keys(0, 1), keys(0), seed=0)
