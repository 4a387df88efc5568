"""Class-wise NMS against MMDetection's, and where that is wrong against loops."""

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmcv.ops import nms as mmcv_nms
from mmcv.ops import soft_nms
from mmdet.models.layers import multiclass_nms

from fgclip2_det.models.label_nms import nms_by_label
from fgclip2_det.models.roi_heads import class_nms as module
from fgclip2_det.models.roi_heads.class_nms import class_nms
from fgclip2_det.onnx.class_nms import class_nms as onnx_nms


def reference(bboxes, scores, score_thr, iou, limit):
    padded = torch.nn.functional.pad(scores, (0, 1))
    nms = dict(type='nms', iou_threshold=iou, split_thr=1)  # class by class
    return multiclass_nms(bboxes, padded, score_thr, nms, limit)


def slow_nms(boxes, scores, labels, iou) -> list[int]:
    """Rows by descending score, one by one, in float64 and plain Python."""
    boxes, kept = boxes.double().tolist(), []
    for row in scores.argsort(descending=True).tolist():
        if all(labels[row] != labels[k] or overlap(boxes[row], boxes[k]) <= iou
               for k in kept):  # fmt: skip
            kept.append(row)
    return kept


def overlap(a, b) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    inter = max(width, 0) * max(height, 0)
    areas = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
    return inter / (sum(areas) - inter)


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


@pytest.mark.parametrize('offset', [-700.0, 0.0, 20_000.0])
@pytest.mark.parametrize('labels', [[12_999], [0, 1, 2], range(20_900, 21_000)])
def test_large_labels_and_images(labels, offset):
    """An image of 20,000 pixels, boxes left of it, 21,000 names."""
    boxes, scores = random_case(120, 1, 0, spread=25.0)
    generator = torch.Generator().manual_seed(1)
    own = torch.tensor(list(labels))
    own = own[torch.randint(len(own), (120,), generator=generator)]
    boxes = torch.cat([boxes + offset, torch.tensor([[0.0, 0, 9, 9]])])
    scores, own = torch.cat([scores[:, 0], torch.ones(1)]), torch.cat([own, own[:1]])
    options = dict(type='nms', iou_threshold=0.5)
    dets, keep = nms_by_label(boxes, scores, own, options)
    assert keep.tolist() == slow_nms(boxes, scores, own, 0.5)
    assert torch.equal(dets, torch.cat([boxes, scores[:, None]], 1)[keep])


@pytest.mark.parametrize('most', [8192, 0])
def test_two_boxes_at_label_12999(monkeypatch, most):
    """IoU 0.54, which label offsets in float32 take for less than 0.5."""
    monkeypatch.setattr(module, 'MAX_COMPARED', most)
    boxes = torch.tensor([[10.4, 10, 13.4, 30], [11.3, 10, 14.3, 30]])
    boxes = torch.cat([boxes, torch.tensor([[0.0, 0, 1023, 767]])])
    assert overlap(*boxes[:2].tolist()) == pytest.approx(0.538, abs=1e-3)
    scores = torch.zeros(3, 13_000)
    scores[:, 12_999] = torch.tensor([0.9, 0.8, 0.7])
    nms = dict(type='nms', iou_threshold=0.5)
    dets, labels = class_nms(boxes, scores, 0.05, nms, 300)
    assert dets[:, 4].tolist() == pytest.approx([0.9, 0.7])
    assert labels.tolist() == [12_999] * 2
    mmdets = multiclass_nms(boxes, torch.nn.functional.pad(scores, (0, 1)), 0.05, nms)
    assert len(mmdets[0]) == 3  # what it is about


def test_many_names_of_many_boxes(monkeypatch):
    """The fallback: more candidates than one comparison holds, of 21,000 names."""
    monkeypatch.setattr(module, 'MAX_COMPARED', 64)
    monkeypatch.setattr('fgclip2_det.models.label_nms._AT_ONCE', 40)
    boxes, _ = random_case(60, 1, 3, spread=5.0)
    boxes = boxes + 3000
    scores = torch.zeros(60, 21_000)
    generator = torch.Generator().manual_seed(0)
    for label in (*range(0, 21_000, 1500), 20_998, 20_999):
        chosen = torch.randperm(60, generator=generator)[: 2 + label % 59]
        scores[chosen, label] = torch.rand(len(chosen), generator=generator)
    nms = dict(type='nms', iou_threshold=0.4)
    dets, labels = class_nms(boxes, scores, 0.01, nms, 500)
    box, label = (scores > 0.01).nonzero().T
    values = scores[box, label]
    kept = slow_nms(boxes[box], values, label, 0.4)
    assert torch.equal(labels, label[kept])
    assert torch.equal(dets[:, 4], values[kept])
    assert torch.equal(dets[:, :4], boxes[box[kept]])
    few = class_nms(boxes, scores, 0.01, nms, 20)
    assert torch.equal(few[0], dets[:20]) and torch.equal(few[1], labels[:20])


def test_nan_is_no_detection():
    boxes, scores = random_case(20, 3, 0)
    scores[3, 1] = scores[5] = float('nan')
    nms = dict(type='nms', iou_threshold=0.5)
    for limit in (4, 100, -1):
        dets, labels = class_nms(boxes, scores, 0.0, nms, limit)
        known = scores.nan_to_num(-1)
        expected, others = reference(boxes, known, 0.0, 0.5, limit)
        assert torch.equal(dets, expected) and torch.equal(labels, others)


def test_more_candidates_than_fit(monkeypatch):
    """One cluster of boxes: candidates lose until nearly all are compared."""
    monkeypatch.setattr(module, 'MAX_COMPARED', 100)
    bboxes, scores = random_case(300, 2, 0, spread=3.0)
    nms = dict(type='nms', iou_threshold=0.2)
    dets, labels = class_nms(bboxes, scores, 0.0, nms, 20)
    expected, expected_labels = reference(bboxes, scores, 0.0, 0.2, 20)
    torch.testing.assert_close(dets, expected)
    assert torch.equal(labels, expected_labels)


def test_other_kinds_and_options_are_mmcvs():
    """Label by label: soft NMS, and a plain one with a pixel's offset."""
    bboxes, scores = random_case(30, 3, 0)
    for nms, own in (
        (dict(type='soft_nms', iou_threshold=0.5), soft_nms),
        (dict(type='nms', iou_threshold=0.5, offset=1), mmcv_nms),
    ):
        dets, labels = class_nms(bboxes, scores, 0.1, nms, 20)
        options = {k: v for k, v in nms.items() if k != 'type'}
        expected = []
        for label in range(3):
            rows = scores[:, label] > 0.1
            actual = own(bboxes[rows], scores[rows, label], **options)[0]
            expected += [(*row, label) for row in actual.tolist()]
        expected = sorted(expected, key=lambda row: -row[4])[:20]
        assert labels.tolist() == [row[5] for row in expected]
        torch.testing.assert_close(dets, torch.tensor([r[:5] for r in expected]))
    agnostic = dict(type='nms', iou_threshold=0.5, class_agnostic=True)
    dets, labels = class_nms(bboxes, scores, 0.1, agnostic, 20)
    padded = torch.nn.functional.pad(scores, (0, 1))
    expected, expected_labels = multiclass_nms(bboxes, padded, 0.1, agnostic, 20)
    assert torch.equal(dets, expected) and torch.equal(labels, expected_labels)


def test_empty_boxes_overlap_nothing():
    bboxes, scores = torch.zeros(3, 4), torch.tensor([[0.9], [0.8], [0.7]])
    nms = dict(type='nms', iou_threshold=0.5)
    assert len(class_nms(bboxes, scores, 0.0, nms, 10)[0]) == 3


@pytest.mark.parametrize('limit', [1, 7, 40, -1])
@pytest.mark.parametrize('levels', [1, 3, 20])
def test_equal_scores_in_their_order(levels, limit):
    """As a loop over all pairs of box and class, and as the runtime without torch."""
    generator = torch.Generator().manual_seed(levels)
    corner = torch.rand(60, 2, generator=generator) * 200
    size = 10 + torch.rand(60, 2, generator=generator) * 60
    boxes = torch.cat([corner, corner + size], 1)
    scores = torch.randint(0, levels + 1, (60, 5), generator=generator) / levels
    overlaps = module.pairwise_iou(boxes)
    cells = sorted(range(300), key=lambda i: -float(scores.flatten()[i]))
    kept: list[int] = []
    for cell in cells:
        box, label = divmod(cell, 5)
        is_free = all(
            other % 5 != label or overlaps[other // 5, box] <= 0.5 for other in kept
        )
        if scores[box, label] > 0.1 and is_free:
            kept.append(cell)
    kept = kept[:limit] if limit > 0 else kept
    nms = dict(type='nms', iou_threshold=0.5)
    dets, labels = class_nms(boxes, scores, 0.1, nms, limit)
    assert labels.tolist() == [cell % 5 for cell in kept]
    torch.testing.assert_close(dets[:, :4], boxes[[cell // 5 for cell in kept]])
    found = onnx_nms(boxes.numpy(), scores.numpy(), 0.1, 0.5, limit)
    np.testing.assert_array_equal(found[2], labels)
    np.testing.assert_allclose(found[0], dets[:, :4])
