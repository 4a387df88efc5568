"""Focal, federated, hard-name and TIC losses against slow references."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from fgclip2_det.models import OpenVocabCrossEntropyLoss, OpenVocabFocalLoss
from fgclip2_det.models.losses import (
    hard_name_loss,
    nearest_names,
    vocabulary_tic_loss,
)
from fgclip2_det.models.roi_heads import FederatedNames, HardNames
from fgclip2_det.vocabulary import Vocabulary
from pretrain.losses import hard_negative_loss, tic_loss


def unit(*shape: int, dtype=torch.float32) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, dtype=dtype), dim=-1)


@pytest.mark.parametrize(('gamma', 'alpha'), [(2.0, 0.25), (0.0, -1.0), (1.5, 0.9)])
def test_focal_loss_equals_a_loop(gamma, alpha):
    logits, labels = torch.randn(6, 5), torch.tensor([0, 3, 4, 4, 2, 1])
    weights, is_base = torch.rand(6), torch.tensor([True, True, False, True])
    expected = 0.0
    for k, label in enumerate(labels.tolist()):
        for c in range(4):
            p = 1 / (1 + math.exp(-logits[k, c].item()))
            right = p if c == label else 1 - p
            share = 1.0 if alpha < 0 else alpha if c == label else 1 - alpha
            part = -share * (1 - right) ** gamma * math.log(right)
            weight = weights[k].item() * (0.5 if label == 4 else 1.0)
            expected += weight * part * is_base[c].item()
    loss = OpenVocabFocalLoss(gamma, alpha, bg_weight=0.5, loss_weight=3.0)
    actual = loss(logits, labels, weights, 7.0, is_base)
    torch.testing.assert_close(
        actual, torch.tensor(3 * expected / 7), rtol=1e-5, atol=0
    )


def test_focal_loss_gradient():
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    loss = OpenVocabFocalLoss()
    labels, ones = torch.tensor([0, 2, 3]), torch.ones(3)

    def value(x):  # the loss computes in fp32; its pairs take any precision
        targets = F.one_hot(labels, 4)[:, :-1].to(x)
        return (loss.pair_loss(x[:, :-1], targets) * ones[:, None]).sum()

    assert torch.autograd.gradcheck(value, logits)


@pytest.mark.parametrize('loss_type', ['softmax', 'sigmoid', 'focal'])
def test_names_that_do_not_count_get_no_gradient(loss_type):
    """Each region has names of its own, as federated annotations ask for."""
    loss = {
        'softmax': OpenVocabCrossEntropyLoss(),
        'sigmoid': OpenVocabCrossEntropyLoss(use_sigmoid=True),
        'focal': OpenVocabFocalLoss(),
    }[loss_type]
    logits = torch.randn(3, 5, requires_grad=True)
    counts = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 1], [1, 1, 0, 0]]).bool()
    loss(logits, torch.tensor([2, 3, 4]), torch.ones(3), 3.0, counts).backward()
    assert torch.equal(logits.grad[:, :4] != 0, counts)


def test_hard_name_loss_equals_alignment_loss():
    regions, texts = unit(4, 8), unit(9, 8)
    index = torch.tensor([[0, 5, 6], [3, -1, -1], [1, 8, -1], [0, 5, 6]])
    scale = torch.tensor([2.0])
    keep = torch.tensor([0, 2, 3])  # a row without a negative says nothing
    expected = hard_negative_loss(regions, texts, keep, index[keep], scale)
    actual = hard_name_loss(regions @ texts.T * scale.exp(), index)
    torch.testing.assert_close(actual, expected)
    assert hard_name_loss(torch.randn(2, 3), torch.tensor([[0, -1], [1, -1]])) == 0
    assert hard_name_loss(torch.zeros(0, 3), torch.zeros(0, 2).long()) == 0


@pytest.mark.parametrize('num', [1, 2, 4, 15])
def test_vocabulary_tic_equals_alignment_loss(num):
    texts = unit(num, 3).requires_grad_()
    actual = vocabulary_tic_loss(texts, 0.9, 3)
    (gradient,) = torch.autograd.grad(actual, texts)
    expected = tic_loss(texts, threshold=0.9, topk=3)
    (wanted,) = torch.autograd.grad(expected, texts)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(gradient, wanted)


def test_nearest_names():
    texts = F.normalize(torch.tensor([[1.0, 0], [1, 0.1], [1, 0.2], [0, 1]]), dim=-1)
    is_base = torch.tensor([True, False, True, True])
    actual = nearest_names(texts, is_base, 3).tolist()
    assert actual == [[0, 2, 3, -1], [1, -1, -1, -1], [2, 0, 3, -1], [3, 2, 0, -1]]


VOCABULARY = Vocabulary(['red cup', 'blue cup', 'dog'], base_classes=['red cup', 'dog'])


def test_hard_texts_of_a_file(tmp_path):
    path = tmp_path / 'hard.json'
    texts = {'Red_Cup': ['green cup', 'red plate', 'red cup'], 'cat': ['lynx']}
    path.write_text(json.dumps(texts))
    asked = []

    def embed(vocabulary):
        asked.extend(vocabulary.names)
        return unit(len(vocabulary), 4)

    names = HardNames(str(path), num=4)
    extra = names.set_vocabulary(VOCABULARY, unit(3, 4), embed)
    assert asked == ['green cup', 'red plate']  # own name left out, cat no name here
    assert extra.shape == (2, 4)
    # columns 0 to 2 are names, 3 the background
    assert names.index.tolist() == [
        [0, 4, 5, -1, -1],
        [1, -1, -1, -1, -1],
        [2, -1, -1, -1, -1],
    ]
    logits = torch.randn(2, 6)
    expected = -logits[0, [0, 4, 5]].log_softmax(0)[0] / 2
    torch.testing.assert_close(names.loss(logits, torch.tensor([0, 2])), expected)


@pytest.mark.parametrize(
    ('texts', 'message'),
    [
        ({'red cup': ['Blue  cup']}, 'is a novel name'),
        ({'cat': ['lynx']}, 'none of the base names'),
        ({'red cup': 'blue plate'}, 'needs a list of texts'),
        (['red cup'], 'must map names'),
        ('missing.json', 'cannot be read'),
    ],
)
def test_bad_hard_texts(texts, message):
    with pytest.raises(ValueError, match=message):
        HardNames(texts).set_vocabulary(VOCABULARY, unit(3, 4), None)


def sample(labels, negative=(), partial=()) -> DetDataSample:
    actual = DetDataSample(
        metainfo=dict(neg_labels=negative, not_exhaustive_labels=partial)
    )
    actual.gt_instances = InstanceData(labels=torch.tensor(labels, dtype=torch.int64))
    return actual


IS_BASE = torch.tensor([True, True, True, True, False])


def test_federated_lists():
    samples = [sample([0, 1], [2, 4], [1]), sample([])]
    counts = FederatedNames()(samples, IS_BASE)
    assert counts.tolist() == [
        [True, False, True, False, False],  # 1 is not exhaustive, 4 is novel
        [False] * 5,
    ]


def test_federated_sample():
    names = FederatedNames(image_lists=False, num_names=2, power=1.0)
    with pytest.raises(ValueError, match='image_counts'):
        names.set_image_counts(None)
    names.set_image_counts([5, 1, 3, 0, 9])
    torch.manual_seed(0)
    drawn = torch.zeros(5)
    for _ in range(400):
        counts = names([sample([0]), sample([])], IS_BASE)
        assert counts.sum(1).tolist() == [2, 2]
        drawn += counts[0]
    assert drawn[[0, 3, 4]].tolist() == [400, 0, 0]  # 3 is in no image, 4 is novel
    assert drawn[2] / drawn[1] == pytest.approx(3, rel=0.3)
    assert names([sample([0, 1, 2])], IS_BASE).sum() == 3  # present ones all count


def test_federated_needs_its_inputs():
    bare = DetDataSample()
    bare.gt_instances = InstanceData(labels=torch.zeros(0).long())
    with pytest.raises(ValueError, match='meta_keys'):
        FederatedNames()([bare], IS_BASE)
    with pytest.raises(ValueError, match='image_lists'):
        FederatedNames(image_lists=True, num_names=50)
