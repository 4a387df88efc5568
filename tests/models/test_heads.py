"""Classifier, loss, fusion and neck against hand-computed numbers."""

import pytest
import torch
import torch.nn.functional as F

from fgclip2_det.models import (
    FGCLIP2SimpleFPN,
    OpenVocabCrossEntropyLoss,
    RegionTextClassifier,
)


def test_softmax_loss_by_hand():
    """Two regions, names (base, novel, base) and background.

    Region 0, label 0: the novel logit 9 must not count, so
    -log(e^1 / (e^1 + e^0 + e^0)) = 0.5514447; region 1 is background, weight
    0.5: -0.5 log(e^2 / (e^0 + e^0 + e^2)) = 0.5 * 0.2395448. Sum / 4.
    """
    logits = torch.tensor([[1.0, 9.0, 0.0, 0.0], [0.0, 9.0, 0.0, 2.0]])
    loss = OpenVocabCrossEntropyLoss(bg_weight=0.5, loss_weight=2.0)(
        logits,
        torch.tensor([0, 3]),
        torch.ones(2),
        4.0,
        torch.tensor([True, False, True]),
    )
    expected = 2 * (0.5514447 + 0.5 * 0.2395448) / 4
    torch.testing.assert_close(loss, torch.tensor(expected))


def test_sigmoid_loss_by_hand():
    """Region 0: softplus(-1) + softplus(0) = 0.3132617 + 0.6931472; background
    region: softplus(0) + softplus(0), weight 0.5; the novel column is out."""
    logits = torch.tensor([[1.0, 9.0, 0.0, 7.0], [0.0, 9.0, 0.0, 2.0]])
    loss = OpenVocabCrossEntropyLoss(use_sigmoid=True, bg_weight=0.5)(
        logits,
        torch.tensor([0, 3]),
        torch.ones(2),
        1.0,
        torch.tensor([True, False, True]),
    )
    torch.testing.assert_close(loss, torch.tensor(1.0064089 + 0.6931472))


@pytest.mark.parametrize('use_sigmoid', [False, True])
def test_loss_ignores_weightless_regions_and_novel_columns(use_sigmoid):
    loss_fn = OpenVocabCrossEntropyLoss(use_sigmoid=use_sigmoid)
    logits = torch.randn(5, 4, requires_grad=True)
    is_base = torch.tensor([True, False, True])
    weights = torch.tensor([1.0, 1, 0, 1, 1])
    loss = loss_fn(logits, torch.tensor([0, 2, 0, 3, 3]), weights, 4.0, is_base)
    loss.backward()
    assert not logits.grad[2].any()
    assert not logits.grad[:, 1].any()
    assert logits.grad[0].any()
    empty = loss_fn(
        torch.zeros(0, 4), torch.zeros(0).long(), torch.zeros(0), 1.0, is_base
    )
    assert empty == 0


def test_scores():
    logits = torch.tensor([[0.0, 0.0, 0.0]])
    softmax = OpenVocabCrossEntropyLoss().scores(logits)
    torch.testing.assert_close(softmax, torch.full((1, 2), 1 / 3))
    sigmoid = OpenVocabCrossEntropyLoss(use_sigmoid=True).scores(logits)
    torch.testing.assert_close(sigmoid, torch.full((1, 2), 0.5))


class Released:
    @staticmethod
    def logit_parameters():
        return torch.tensor([4.0]), torch.tensor([-3.0])


def classifier(background: str | None, **options) -> RegionTextClassifier:
    module = RegionTextClassifier(6, 4, background, **options)
    embeds = F.normalize(torch.randn(3 + (background is not None), 4), dim=-1)
    module.set_embeds(embeds, torch.tensor([True, True, False]), Released)
    return module


@pytest.mark.parametrize('background', ['background', None])
def test_classifier_logits(background):
    module, x = classifier(background), torch.randn(5, 6)
    assert module(x).shape == (5, 4)
    embeds = F.normalize(module.project(x), dim=-1)
    expected = torch.e**4 * embeds @ module.class_embeds().T - 3
    torch.testing.assert_close(module(x)[:, :3], expected, atol=1e-4, rtol=1e-4)


def test_classifier_scale_and_bias():
    fixed = classifier('background', logit_scale=1.5, learn_logits=False)
    assert fixed.logit_scale.item() == 1.5
    assert not fixed.logit_scale.requires_grad
    learned = classifier('background')
    with torch.no_grad():
        learned.logit_scale += 1
    learned.set_embeds(torch.ones(2, 4), torch.tensor([True]), Released)
    assert learned.logit_scale.item() == 5.0  # another vocabulary: no weight changes


def test_classifier_takes_the_vocabulary_of_a_checkpoint():
    saved = classifier('background').state_dict()
    other = RegionTextClassifier(6, 4)
    other.load_state_dict(saved)
    assert torch.equal(other.text_embeds, saved['text_embeds'])
    assert other.is_base.tolist() == [True, True, False]


def test_neck_levels():
    neck = FGCLIP2SimpleFPN(32, 8, num_outs=5)
    outs = neck((torch.zeros(1, 32, 3, 3), torch.randn(2, 32, 6, 9)))
    sizes = [tuple(x.shape) for x in outs]
    assert sizes == [(2, 8, 24, 36), (2, 8, 12, 18), (2, 8, 6, 9), (2, 8, 3, 5),
                     (2, 8, 2, 3)]  # fmt: skip
    with pytest.raises(ValueError, match='scales must be among'):
        FGCLIP2SimpleFPN(32, 8, scales=(3,))
    with pytest.raises(ValueError, match='below 4 scales'):
        FGCLIP2SimpleFPN(32, 8, num_outs=3)


@pytest.mark.parametrize('size', [(6, 10), (1, 9), (9, 1), (2, 2)])
def test_simple_fpn_is_contiguous(size):
    """Of maps with permuted strides, too."""
    neck = FGCLIP2SimpleFPN(32, 8, num_outs=6)
    tokens = torch.rand(2, size[0] * size[1], 32)
    for x in (tokens.transpose(1, 2).unflatten(2, size), torch.rand(1, 32, *size)):
        assert all(level.is_contiguous() for level in neck((x,)))
