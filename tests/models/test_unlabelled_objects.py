"""The loss on objects without a label, for names made of parts."""

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData

from fgclip2_det.models.roi_heads.name_parts import NameParts
from fgclip2_det.models.roi_heads.open_vocab_roi_head import _is_free, _labelled_boxes
from tests.models.test_detector import build, data
from tests.models.test_name_parts import (
    BLUE_CUP,
    GREEN_BOWL,
    HEAD,
    NAMES,
    NOVEL,
    PARTS,
    RED_CUP,
    TEXTS,
    name_parts,
    trained,
    vocabulary,
)


@pytest.mark.parametrize(('seed', 'labelled'), [(0, 4), (1, 0), (1, 20)])
def test_unlabelled_loss_is_that_of_all_other_pairs(seed, labelled):
    """Against the sum over the pairs that no base name has, one by one."""
    module = name_parts(unlabelled_weight=0.7)
    torch.manual_seed(seed)
    logits = (3 * torch.randn(5, 6)).requires_grad_()
    weights = torch.tensor([0.9, 0.2, 0.51, 1.0, 0.6])
    counted = weights * torch.tensor([1, 0, 1, 1, 1])  # likelier objects than not
    base = {tuple(PARTS[name]) for name in NAMES if name not in NOVEL}
    expected = torch.zeros(())
    for row, weight in zip(logits, counted, strict=True):
        colors, things = row[:3].softmax(0), row[3:].softmax(0)
        others = [
            colors[i] * things[j]
            for i, color in enumerate(TEXTS[:3])
            for j, thing in enumerate(TEXTS[3:])
            if (color, thing) not in base
        ]
        assert len(others) == 5
        expected = expected - weight * sum(others).log()
    expected = 0.7 * expected / max(labelled, float(counted.sum()))
    (wanted,) = torch.autograd.grad(expected, logits)
    loss = module.unlabelled_loss(logits, weights.requires_grad_(), labelled)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    loss.backward()
    torch.testing.assert_close(logits.grad, wanted, rtol=1e-4, atol=1e-6)
    assert weights.grad is None  # how likely an object is there is no target


def test_unlabelled_regions_that_are_taken_for_a_base_name():
    """Its gradient leads away; beyond double precision the loss is finite."""
    module = name_parts(unlabelled_weight=1.0)
    for sure in (9.0, 28.0):
        logits = torch.tensor([[sure, 0, 0, sure, 0, 0]], requires_grad=True)
        module.unlabelled_loss(logits, torch.ones(1), 1).backward()
        assert (logits.grad[0, [0, 3]] > 0.4).all()
        assert (logits.grad[0, [2, 5]] < -0.4).all()  # green cup, red bowl
    logits = torch.tensor([[60.0, 0, 0, 60, 0, 0]], requires_grad=True)
    loss = module.unlabelled_loss(logits, torch.ones(1), 1)
    loss.backward()
    assert 25 < loss < 40 and logits.grad.isfinite().all()


def test_nothing_is_unlabelled_where_every_pair_is_a_name():
    names = ['red cup', 'red plate', 'blue cup', 'blue plate']
    module = NameParts(unlabelled_weight=1.0)
    module.set_vocabulary(
        vocabulary(names, {name: name.split() for name in names}, []),
        torch.zeros(4, 8),
        lambda texts: torch.zeros(len(texts), 8),
    )
    logits = torch.randn(3, 4, requires_grad=True)
    loss = module.unlabelled_loss(logits, torch.ones(3), 3)
    loss.backward()
    assert loss == 0 and not logits.grad.any()


@pytest.mark.parametrize('weight', [-1.0, float('nan')])
def test_weight_that_is_none(weight):
    with pytest.raises(ValueError, match='unlabelled_weight must be 0 or more'):
        NameParts(unlabelled_weight=weight)
    with pytest.raises(ValueError, match='unlabelled_from must be between 0 and 1'):
        NameParts(unlabelled_from=weight)


@pytest.mark.parametrize(
    ('stage', 'done', 'counts'),
    [
        (None, 0, True),
        ('test', 0, True),
        ('train', 39, False),
        ('train', 40, True),
    ],
)
def test_unlabelled_objects_count_later(monkeypatch, stage, done, counts):
    hub = MessageHub.get_current_instance()
    info = {'loop_stage': stage, 'iter': done, 'max_iters': 100}
    monkeypatch.setattr(hub, '_runtime_info', info)
    module = name_parts(unlabelled_weight=1.0, unlabelled_from=0.4)
    logits = torch.randn(3, 6, requires_grad=True)
    loss = module.unlabelled_loss(logits, torch.ones(3), 3)
    loss.backward()
    assert bool(loss > 0) == counts == bool(logits.grad.any())
    # what is as photographed counts from the same time on
    looks = torch.full((3,), -1)
    labels = torch.tensor([RED_CUP, BLUE_CUP, GREEN_BOWL])
    assert bool(module.loss(logits, labels, looks) > 0) == counts
    assert not name_parts(unlabelled_weight=0.0).loss(logits, labels, looks).any()


def test_regions_that_show_no_labelled_object():
    labelled = torch.tensor([[0.0, 0, 10, 10], [40, 40, 60, 80]])
    regions = {
        (0, 0, 10, 10): False,
        (2, 2, 6, 6): False,  # a part of an object
        (0, 0, 10, 30): False,  # a whole one, and as much again on either side
        (-40, -40, 90, 120): False,  # both, far around them
        (6, 0, 10, 10): False,
        (4, 0, 14, 10): False,  # more than half of one
        (6, 0, 16, 10): True,  # 0.4 of one; another object may hide it
        (100, 100, 120, 120): True,
        (35, 70, 59, 100): True,
    }
    free = _is_free(torch.tensor(list(regions)).float(), labelled)
    assert free.tolist() == list(regions.values())
    assert _is_free(torch.tensor(list(regions)).float(), labelled[:0]).all()


def test_two_objects_may_cover_a_region_together():
    """0.3 of it each, and 0.3 of each of them: between two labelled objects."""
    labelled = torch.tensor([[0.0, 0, 10, 10], [14, 0, 24, 10]])
    region = torch.tensor([[7.0, 0, 17, 10]])
    assert _is_free(region, labelled[:1]).all() and _is_free(region, labelled[1:]).all()
    assert not _is_free(region, labelled).any()


def test_detector_trains_on_unlabelled_objects():
    """Background far from labels counts; what is labelled, or ignored, does not."""
    options = dict(unlabelled_weight=1.0, unlabelled_from=0.0)
    model, losses = trained([None, None], **options)
    assert losses['loss_unlabelled'] > 0
    losses['loss_unlabelled'].backward()
    assert model.classifier.project.weight.grad.any()
    assert model.classifier.project.weight.grad.isfinite().all()
    _, without = trained([None, None])
    assert 'loss_unlabelled' not in without
    torch.testing.assert_close(losses['loss_cls'], without['loss_cls'])

    model.zero_grad()
    batch = data((96, 160), (128, 96), labels=[RED_CUP, BLUE_CUP])
    for sample in batch['data_samples']:
        whole = torch.tensor([[0.0, 0, 1000, 1000]])
        sample.ignored_instances.bboxes = whole
        sample.ignored_instances.labels = torch.zeros(1).long()
    losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    assert losses['loss_unlabelled'] == 0


def test_unlabelled_mean_over_all_processes(monkeypatch):
    module = name_parts(unlabelled_weight=1.0)
    torch.manual_seed(3)
    logits, weights = torch.randn(5, 6), torch.rand(5) / 2 + 0.5
    whole = module.unlabelled_loss(logits, weights, 4)
    mean = 'fgclip2_det.models.losses.process_counts.reduce_mean'
    seen = []

    def reduce_mean(count):
        seen.append(count)
        return torch.tensor([4, weights.sum()]).double() / 2

    monkeypatch.setattr(mean, reduce_mean)
    shares = [
        module.unlabelled_loss(logits[rows], weights[rows], labelled)
        for rows, labelled in ((slice(2), 1), (slice(2, 5), 3))
    ]
    torch.testing.assert_close(sum(shares) / 2, whole)
    own, other = weights[:2].sum().item(), weights[2:].sum().item()
    assert seen[0].tolist() == pytest.approx([1, own])
    assert seen[1].tolist() == pytest.approx([3, other])


def test_unlabelled_objects_of_images_that_are_not_annotated_for_all_names():
    options = {
        HEAD + 'name_parts': {'unlabelled_weight': 1.0},
        HEAD + 'federated': {'image_lists': True},
    }
    with pytest.raises(ValueError, match='federated says that they are not'):
        build(**options)


@pytest.mark.parametrize('sigmoid', [False, True])
def test_what_is_likely_an_object(monkeypatch, sigmoid):
    """Many small probabilities make an object in a softmax alone: sigmoids are none of
    one another's shares."""
    model, _ = trained([None, None], unlabelled_weight=1.0)
    head, seen = model.roi_head.bbox_head, []
    monkeypatch.setattr(head.loss_cls, 'use_sigmoid', sigmoid)
    monkeypatch.setattr(
        head.name_parts, 'unlabelled_loss', lambda *given: seen.append(given)
    )
    cls_score = torch.zeros(2, 6 + 1 + 6)
    cls_score[0, :6] = -1.5  # 0.18 each as a sigmoid; 0.47 of the four base names
    cls_score[1, :6] = 2.0
    head.set_looks(torch.full((2,), -1), torch.ones(2, dtype=torch.bool))
    head._unlabelled_loss(cls_score, torch.full((2,), 6))
    ((_, objectness, labelled),) = seen
    wanted = cls_score[:, 0].sigmoid()
    if not sigmoid:
        share = 4 * cls_score[:, 0].exp()
        wanted = share / (1 + share)
    torch.testing.assert_close(objectness, wanted)
    assert labelled == 0


def test_ignored_instances_may_have_no_boxes():
    (sample,) = data((96, 160), labels=[RED_CUP, BLUE_CUP])['data_samples']
    own = sample.gt_instances.bboxes
    assert len(_labelled_boxes(sample)) == len(own)
    sample.ignored_instances = InstanceData()
    assert len(_labelled_boxes(sample)) == len(own)
    del sample.ignored_instances
    assert len(_labelled_boxes(sample)) == len(own)
