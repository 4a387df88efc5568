"""Class-wise NMS against MMDetection's."""

import pytest
import torch

from fgclip2_det.models.roi_heads import class_nms as module
from fgclip2_det.models.roi_heads.class_nms import class_nms


def reference(bboxes, scores, score_thr, iou, limit):
    padded = torch.nn.functional.pad(scores, (0, 1))
    nms = dict(type='nms', iou_threshold=iou, split_thr=1)  # class by class
    return module.multiclass_nms(bboxes, padded, score_thr, nms, limit)


def random_case(n, num_classes, seed, spread=60.0):
    generator = torch.Generator().manual_seed(seed)
    start = torch.rand(n, 2, generator=generator) * spread
    sides = 5 + torch.rand(n, 2, generator=generator) * 50
    scores = torch.rand(n, num_classes, generator=generator) ** 3
    return torch.cat([start, start + sides], 1), scores


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize(
    ('n', 'num_classes', 'score_thr', 'iou', 'limit'),
    [
        (40, 3, 0.1, 0.5, 100),  # fewer than the limit
        (200, 7, 0.0, 0.5, 50),
        (150, 40, 0.3, 0.3, 100),
        (60, 1, 0.05, 0.7, 10),  # one class: many candidates lose
        (5, 2, 2.0, 0.5, 10),  # nothing passes
        (0, 3, 0.1, 0.5, 10),
    ],
)
def test_equals_mmdet(seed, n, num_classes, score_thr, iou, limit):
    bboxes, scores = random_case(n, num_classes, seed)
    dets, labels = class_nms(
        bboxes, scores, score_thr, dict(type='nms', iou_threshold=iou), limit
    )
    expected, expected_labels = reference(bboxes, scores, score_thr, iou, limit)
    torch.testing.assert_close(dets, expected.view(-1, 5), rtol=0, atol=0)
    assert torch.equal(labels, expected_labels)


def test_more_candidates_than_fit(monkeypatch):
    """One cluster of boxes: candidates lose until MMDetection's own is asked."""
    monkeypatch.setattr(module, 'MOST', 100)
    bboxes, scores = random_case(300, 2, 0, spread=3.0)
    nms = dict(type='nms', iou_threshold=0.2)
    dets, labels = class_nms(bboxes, scores, 0.0, nms, 20)
    expected, expected_labels = reference(bboxes, scores, 0.0, 0.2, 20)
    torch.testing.assert_close(dets, expected)
    assert torch.equal(labels, expected_labels)


def test_soft_nms_is_mmdets():
    bboxes, scores = random_case(30, 3, 0)
    nms = dict(type='soft_nms', iou_threshold=0.5)
    dets, labels = class_nms(bboxes, scores, 0.1, nms, 20)
    padded = torch.nn.functional.pad(scores, (0, 1))
    expected, expected_labels = module.multiclass_nms(bboxes, padded, 0.1, nms, 20)
    assert torch.equal(dets, expected)
    assert torch.equal(labels, expected_labels)


def test_empty_boxes_overlap_nothing():
    bboxes, scores = torch.zeros(3, 4), torch.tensor([[0.9], [0.8], [0.7]])
    nms = dict(type='nms', iou_threshold=0.5)
    assert len(class_nms(bboxes, scores, 0.0, nms, 10)[0]) == 3
