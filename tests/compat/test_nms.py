"""Suppression, against loops written from the definition and the compiled op."""

from types import ModuleType

import numpy as np
import pytest
import torch
from mmcv.ops import batched_nms, nms, nms_match, soft_nms
from torch import Tensor

from fgclip2_det.compat.ops import nms as fallback


def make_boxes(count: int, seed: int = 0, ties: bool = False) -> tuple[Tensor, Tensor]:
    """Boxes around 12 objects; whole-number corners and few scores with ``ties``."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(12, 2, generator=generator) * 60
    objects = torch.cat([corner, corner + 10 + corner / 2], 1)
    boxes = objects[torch.randint(12, (count,), generator=generator)]
    boxes = boxes + torch.randn(count, 4, generator=generator) * 3
    scores = torch.rand(count, generator=generator)
    return (boxes.round(), (scores * 8).round() / 8) if ties else (boxes, scores)


def slow_iou(a: Tensor, b: Tensor, offset: int) -> float:
    width = (min(a[2], b[2]) - max(a[0], b[0]) + offset).clamp(min=0)
    height = (min(a[3], b[3]) - max(a[1], b[1]) + offset).clamp(min=0)
    area_a, area_b = ((x[2] - x[0] + offset) * (x[3] - x[1] + offset) for x in (a, b))
    return float(width * height / (area_a + area_b - width * height))


def slow_nms(boxes: Tensor, scores: Tensor, threshold: float, offset: int) -> list[int]:
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -float(scores[i])):
        if all(slow_iou(boxes[k], boxes[i], offset) <= threshold for k in kept):
            kept.append(i)
    return kept


def test_nms_on_three_boxes_by_hand(ext: ModuleType):
    """IoU of the first two: 50 / 150 = 1/3; the third stands alone."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 5, 10, 15], [20, 20, 30, 30]])
    scores = torch.tensor([0.8, 0.9, 0.1])
    assert ext.nms(boxes, scores, 0.33, 0).tolist() == [1, 2]
    assert ext.nms(boxes, scores, 0.34, 0).tolist() == [1, 0, 2]


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('offset', [0, 1])
def test_nms_matches_a_loop(ext: ModuleType, any_type, offset: int, dtype: torch.dtype):
    boxes, scores = (x.to(dtype) for x in make_boxes(60))
    for threshold in (0.0, 0.3, 0.7):
        expected = slow_nms(boxes, scores, threshold, offset)
        assert ext.nms(boxes, scores, threshold, offset).tolist() == expected


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize('count', [1, 130, 1500])
def test_nms_equals_the_compiled_op(
    ext: ModuleType, compiled: ModuleType, count: int, ties: bool, offset: int
):
    for threshold in (0.0, 0.3, 0.5, 0.9):
        boxes, scores = make_boxes(count, ties=ties)
        ours = ext.nms(boxes, scores, iou_threshold=threshold, offset=offset)
        theirs = compiled.nms(boxes, scores, iou_threshold=threshold, offset=offset)
        assert ours.tolist() == theirs.tolist()


def test_nms_of_many_boxes_stays_in_small_blocks(ext: ModuleType, monkeypatch):
    """With 50 000 boxes the full matrix of IoUs would take 10 GB."""
    sizes, overlaps = [], fallback._overlaps

    def record(*args):
        sizes.append(len(args[0][0]) * len(args[1][0]))
        return overlaps(*args)

    monkeypatch.setattr(fallback, '_overlaps', record)
    monkeypatch.setattr(fallback, 'torchvision_ops', lambda: None)
    boxes, scores = make_boxes(50_000)
    ext.nms(boxes, scores, 0.3, 0)
    assert max(sizes) <= fallback.MAX_PAIRS


def test_nms_without_boxes_and_with_empty_ones(ext: ModuleType):
    none = ext.nms(torch.zeros(0, 4), torch.zeros(0), 0.5, 0)
    assert none.shape == (0,)
    assert none.dtype == torch.int64
    points = torch.ones(3, 4)  # no area: 0 / 0 suppresses nothing
    assert ext.nms(points, torch.tensor([0.1, 0.3, 0.2]), 0.5, 0).tolist() == [1, 2, 0]


def test_nms_takes_half_types(ext: ModuleType, any_type):
    boxes, scores = make_boxes(60)
    boxes, scores = boxes.bfloat16(), scores.bfloat16()
    expected = ext.nms(boxes.float(), scores.float(), 0.5, 0)
    assert ext.nms(boxes, scores, 0.5, 0).tolist() == expected.tolist()


def test_mmcv_nms_filters_and_cuts(compiled: ModuleType, use_ops):
    """score_threshold, max_num and NumPy input pass through mmcv's own function."""
    boxes, scores = (x.numpy() for x in make_boxes(300))

    def run() -> list[np.ndarray]:
        options = {'score_threshold': 0.2, 'max_num': 7}
        return [*nms(boxes, scores, 0.5, **options), *nms(boxes, scores, 0.5)]

    ours = run()
    use_ops(compiled)
    for mine, theirs in zip(ours, run(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert len(ours[0]) == 7


@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize('offset', [0, 1])
def test_soft_nms_equals_the_compiled_op(
    compiled: ModuleType, use_ops, method: str, ties: bool, offset: int
):
    boxes, scores = make_boxes(200, ties=ties)
    options = {'method': method, 'offset': offset}
    ours = [soft_nms(boxes, scores, min_score=s, **options) for s in (0.0, 1e-3, 0.4)]
    use_ops(compiled)
    for (dets, inds), min_score in zip(ours, (0.0, 1e-3, 0.4), strict=True):
        theirs = soft_nms(boxes, scores, min_score=min_score, **options)
        assert inds.tolist() == theirs[1].tolist()
        torch.testing.assert_close(dets, theirs[0], rtol=1e-5, atol=1e-5)


def test_soft_nms_by_hand_and_empty(any_type):
    """IoU 1/3: linear 0.8 * 2/3 = 0.5333; Gaussian 0.8 * exp(-(1/9) / 0.5) = 0.6406."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 5, 10, 15]], dtype=torch.float64)
    scores = torch.tensor([0.8, 0.9], dtype=torch.float64)
    for method, expected in (('linear', 0.5333333), ('gaussian', 0.6405899)):
        dets, inds = soft_nms(boxes, scores, method=method)
        assert inds.tolist() == [1, 0]
        assert float(dets[1, 4]) == pytest.approx(expected, abs=1e-6)
    dets, inds = soft_nms(torch.zeros(0, 4), torch.zeros(0))
    assert dets.shape == (0, 5)
    assert inds.shape == (0,)


@pytest.mark.parametrize('kind', ['nms', 'soft_nms'])
@pytest.mark.parametrize('split_thr', [100, 10_000])
@pytest.mark.parametrize('class_agnostic', [False, True])
def test_batched_nms_equals_the_compiled_op(
    compiled: ModuleType, use_ops, kind: str, split_thr: int, class_agnostic: bool
):
    boxes, scores = make_boxes(400)
    labels = torch.arange(400) % 5
    config = {'type': kind, 'iou_threshold': 0.5, 'split_thr': split_thr}
    ours = batched_nms(boxes, scores, labels, config, class_agnostic)
    use_ops(compiled)
    theirs = batched_nms(boxes, scores, labels, config, class_agnostic)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_nms_match_equals_the_compiled_op(compiled: ModuleType, use_ops):
    boxes, scores = make_boxes(200, ties=True)
    dets = torch.cat([boxes, scores[:, None]], 1)
    ours = nms_match(dets, 0.5)
    use_ops(compiled)
    torch.testing.assert_close(ours, nms_match(dets, 0.5))
    assert sum(len(group) for group in ours) == 200
