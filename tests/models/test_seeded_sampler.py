"""Draws that follow from iteration and image alone."""

import torch
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData

from fgclip2_det.models import OpenVocabSeededSampler


def draw(sampler, truth, iteration=0):
    from mmdet.models.task_modules.assigners import AssignResult

    hub = MessageHub.get_current_instance()
    hub.update_info('iter', iteration)
    indices = torch.zeros(500).long()
    indices[:40] = 1  # of the first object
    assigned = AssignResult(1, indices.clone(), torch.zeros(500), torch.zeros(500))
    boxes = torch.rand(500, 4, generator=torch.Generator().manual_seed(0))
    instances = InstanceData(bboxes=truth, labels=torch.zeros(len(truth)).long())
    result = sampler.sample(assigned, InstanceData(priors=boxes), instances)
    return result.pos_inds.tolist(), result.neg_inds.tolist()


def build(**options):
    return OpenVocabSeededSampler(
        num=64, pos_fraction=0.25, add_gt_as_proposals=False, **options
    )


def test_draws():
    one, other = torch.rand(1, 4), torch.rand(1, 4)
    sampler = build()
    first = draw(sampler, one)
    assert [len(x) for x in first] == [16, 48]
    assert max(first[0]) < 40 <= min(first[1])
    draw(sampler, other)  # what came before plays no part
    torch.rand(3)
    assert draw(sampler, one) == first == draw(build(), one)
    for changed in (
        draw(sampler, other),
        draw(sampler, one, iteration=1),
        draw(build(seed=1), one),
    ):
        assert changed != first
