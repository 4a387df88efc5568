"""Slices: the image that fits, boxes cut at borders, SAHI around the inferencer."""

import random
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det import OpenVocabInferencer
from fgclip2_det.apis.detections import Detections
from fgclip2_det.apis.slicing import Slices, merge_slices

NAMES = 'red circle; 蓝色正方形'


@pytest.fixture(scope='module')
def inferencer() -> OpenVocabInferencer:
    return OpenVocabInferencer()


@pytest.fixture(scope='module')
def large() -> tuple[Image.Image, list[tuple[str, tuple]]]:
    """700 x 420 pixels with shapes of 60; some lie across borders of slices of 256."""
    image = Image.new('RGB', (700, 420), 'gray')
    canvas, truth = ImageDraw.Draw(image), []
    for i, (x, y) in enumerate(
        [(20, 30), (225, 120), (420, 10), (600, 60), (60, 330), (330, 300), (560, 250)]
    ):
        box = (x, y, x + 60, y + 60)
        if i % 2:
            canvas.rectangle(box, fill='blue')
        else:
            canvas.ellipse(box, fill='red')
        truth.append((NAMES.split('; ')[i % 2], box))
    return image, truth


def detections(*rows: tuple) -> Detections:
    """Of (x0, y0, x1, y1, score, label)."""
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].long(), ('a', 'b'))


def rows_of(found: Detections) -> list[tuple]:
    return [
        (*(round(v, 3) for v in box), round(score, 3), label)
        for box, score, label in zip(
            found.bboxes.tolist(),
            found.scores.tolist(),
            found.labels.tolist(),
            strict=True,
        )
    ]


def test_windows_cover_the_picture():
    cut = Slices(size=100, overlap=0.2)
    assert cut.windows((100, 90)) == [(0, 0, 100, 90)]
    assert cut.windows((180, 100)) == [(0, 0, 100, 100), (80, 0, 180, 100)]
    assert cut.windows((181, 60)) == [  # one more; evenly spaced
        (0, 0, 100, 60), (40, 0, 140, 60), (81, 0, 181, 60)
    ]  # fmt: skip
    assert Slices(100, whole=True).windows((180, 100))[-1] == (0, 0, 180, 100)
    assert Slices(100, whole=True).windows((100, 100)) == [(0, 0, 100, 100)]
    for width in range(100, 700, 37):
        starts = [window[0] for window in cut.windows((width, 50))]
        assert starts[0] == 0 and starts[-1] == width - 100
        assert all(b - a <= 80 for a, b in pairwise(starts))


def test_a_box_across_a_border_is_put_together():
    """The object is (50, 10, 150, 40); the slices end at 100 and begin at 80."""
    windows = [(0, 0, 100, 60), (80, 0, 180, 60)]
    left = detections((50, 10, 100, 40, 0.6, 0), (5, 5, 20, 20, 0.9, 1))
    right = detections((0, 11, 70, 39, 0.8, 0))
    merged = merge_slices([left, right], windows, (180, 60))
    # the right one scores higher and gives the sides that it sees whole
    assert rows_of(merged) == [(5, 5, 20, 20, 0.9, 1), (50, 11, 150, 39, 0.8, 0)]


def test_what_is_not_one_object():
    windows = [(0, 0, 100, 60), (80, 0, 180, 60)]
    # another name, another height, and two of one slice that its detector told apart
    left = detections((50, 10, 100, 40, 0.6, 0))
    for right in ((0, 10, 70, 40, 0.8, 1), (0, 38, 70, 59, 0.8, 0)):
        merged = merge_slices([left, detections(right)], windows, (180, 60))
        assert len(merged) == 2
    two = detections((30, 10, 60, 40, 0.6, 0), (32, 12, 62, 40, 0.5, 0))
    empty = detections()
    assert len(merge_slices([two, empty], windows, (180, 60))) == 2
    assert len(merge_slices([empty, empty], windows, (180, 60))) == 0


def test_complete_boxes_of_two_slices_are_one():
    windows = [(0, 0, 100, 60), (50, 0, 150, 60)]
    left = detections((60, 10, 90, 40, 0.7, 0))
    right = detections((12, 10, 40, 42, 0.9, 0))
    merged = merge_slices([left, right], windows, (150, 60))
    assert rows_of(merged) == [(62, 10, 90, 42, 0.9, 0)]


def test_without_a_prompt_an_object_has_many_names():
    """Slices that disagree about the best name found one object all the same."""
    windows = [(0, 0, 160, 100), (60, 0, 220, 100)]
    left = detections((90, 20, 110, 60, 0.8, 0), (0, 0, 30, 30, 0.7, 1))
    right = detections((30, 20, 50, 60, 0.7, 1), (31, 20, 50, 36, 0.6, 0))
    left.candidates = (('cat', 0.8), ('dog', 0.3)), (('dog', 0.7),)
    right.candidates = (('dog', 0.7), ('cat', 0.6)), (('cat', 0.6),)
    merged = merge_slices([left, right], windows, (220, 100))
    assert rows_of(merged) == [
        (90, 20, 110, 60, 0.8, 0),
        (0, 0, 30, 30, 0.7, 1),
        (91, 20, 110, 36, 0.6, 0),  # in one slice beside the other: not the same
    ]
    assert merged.candidates[0] == (('cat', 0.8), ('dog', 0.3))
    seen = []

    def best_names(lists):
        seen.append(list(lists))
        return lists[-1]

    again = merge_slices([left, right], windows, (220, 100), best_names=best_names)
    assert again.candidates[0] == (('dog', 0.7), ('cat', 0.6))
    assert seen[0] == [left.candidates[0], right.candidates[0]]


@pytest.mark.parametrize('shared', [False, True])
def test_without_a_prompt_cut_boxes_need_a_name_in_common(shared):
    """Whatever fills the strip that two slices see agrees there: a person before a
    sofa. One thing has a name in common with itself."""
    windows = [(0, 0, 160, 100), (128, 0, 288, 100)]
    left = detections((20, 20, 160, 95, 0.8, 0))
    right = detections((0, 18, 34, 96, 0.6, 1))
    left.candidates = ((('cat', 0.8), ('dog', 0.2)),)
    right.candidates = ((('dog', 0.6), *([('cat', 0.4)] * shared)),)
    if not shared:
        left.candidates = ((('cat', 0.8),),)
    merged = merge_slices([left, right], windows, (288, 100))
    assert len(merged) == (1 if shared else 2)


@pytest.mark.parametrize('whole', [False, True])
@pytest.mark.parametrize('seed', range(8))
def test_a_perfect_detector_gives_the_true_boxes(seed, whole):
    """Boxes apart from each other, of any size; each slice sees its part of them.
    A part thinner than 8 pixels is not seen."""
    rng = random.Random(seed)
    size = (rng.randint(300, 900), rng.randint(200, 700))
    truth: list[tuple] = []
    for _ in range(40):
        w, h = rng.randint(20, 350), rng.randint(20, 350)
        if w >= size[0] or h >= size[1]:
            continue
        x, y = rng.randint(0, size[0] - w), rng.randint(0, size[1] - h)
        box = (x, y, x + w, y + h)
        if all(box[0] > o[2] + 4 or o[0] > box[2] + 4 or box[1] > o[3] + 4
               or o[1] > box[3] + 4 for o in truth):  # fmt: skip
            truth.append((*box, round(rng.uniform(0.3, 1), 3), rng.randint(0, 1)))
    cut = Slices(160, 0.25, whole)
    windows, parts = cut.windows(size), []
    for x0, y0, x1, y1 in windows:
        rows = []
        for *box, score, label in truth:
            a, b = max(box[0], x0) - x0, max(box[1], y0) - y0
            c, d = min(box[2], x1) - x0, min(box[3], y1) - y0
            if c - a >= 8 and d - b >= 8:
                rows.append((a, b, c, d, score, label))
        parts.append(detections(*rows))
    merged = merge_slices(parts, windows, size)
    assert sorted(rows_of(merged)) == sorted(truth)


def test_a_picture_that_fits_is_detected_as_without(inferencer, large, tmp_path):
    image = large[0].crop((0, 0, 256, 256))
    path = tmp_path / 'small.png'
    image.save(path)
    for given in (image, path):
        (plain,) = inferencer(given, NAMES)
        for slices in (256, dict(size=300, overlap=0.4, whole=True)):
            (sliced,) = inferencer(given, NAMES, slices=slices)
            assert torch.equal(sliced.bboxes, plain.bboxes)
            assert torch.equal(sliced.scores, plain.scores)
            assert torch.equal(sliced.labels, plain.labels)
            assert sliced.image == plain.image


@pytest.mark.parametrize('whole', [False, True])
def test_shapes_across_borders(inferencer, large, whole, monkeypatch):
    """Each once, in the image's pixels; the names are encoded once."""
    image, truth = large
    inferencer.set_vocabulary('star')
    calls = []
    own = inferencer.system.set_vocabulary
    monkeypatch.setattr(
        inferencer.system, 'set_vocabulary', lambda t: calls.append(t) or own(t)
    )
    options = dict(size=256, overlap=0.3, whole=whole)
    (found,) = inferencer(image, NAMES + '; 黑猫', 0.3, slices=options, batch_size=3)
    assert len(calls) == 1
    assert sorted(found.names) == sorted(name for name, _ in truth)
    for name, box in truth:
        same = [i for i, own in enumerate(found.names) if own == name]
        gap = (found.bboxes[same] - torch.tensor(box)).abs().amax(1)
        assert gap.min() < 9
    (one_by_one,) = inferencer(image, None, 0.3, slices=options)
    torch.testing.assert_close(one_by_one.bboxes, found.bboxes, atol=1e-2, rtol=0)
    assert one_by_one.names == found.names


def test_slices_are_kept_for_other_names():
    """A slice counts as an image of the cache."""
    inferencer = OpenVocabInferencer(cache_size=4)
    image = Image.new('RGB', (400, 256), 'gray')
    ImageDraw.Draw(image).ellipse((60, 80, 140, 160), fill='red')
    inferencer(image, 'red circle', slices=256)
    encode, passes = inferencer.model.backbone.extract, []

    def counted(inputs, *args):
        passes.append(len(inputs))
        return encode(inputs, *args)

    inferencer.model.backbone.extract = counted
    inferencer(image, '红色圆形; blue star', slices=256)
    assert sum(passes) == 0


def test_bad_slices(inferencer, large):
    image = large[0]
    for slices, message in (
        (dict(size=16), '32 or more, got 16'),
        (dict(size=1.5), 'must be a whole number, got 1.5'),
        (dict(overlap=1), r'overlap must lie in \[0, 1\), got 1'),
        (dict(iou=0), r'iou must lie in \(0, 1\), got 0'),
        (dict(width=3), 'slices take size, overlap, whole, iou, got width'),
    ):
        with pytest.raises(ValueError, match=message):
            inferencer(image, NAMES, slices=slices)
    with pytest.raises(ValueError, match='cannot be read'):
        inferencer('absent.png', NAMES, slices=256)


def test_sahi_slices_with_our_inferencer(inferencer, large):
    predict = pytest.importorskip('sahi.predict', reason='pip install sahi')
    from fgclip2_det.apis.sahi_model import SahiDetectionModel

    image, _ = large
    inferencer.set_vocabulary(NAMES)
    model = SahiDetectionModel(inferencer, 0.3)
    assert model.category_names == NAMES.split('; ') and model.num_categories == 2
    one = predict.get_prediction(image.crop((0, 0, 256, 256)), model)
    (own,) = inferencer(image.crop((0, 0, 256, 256)), NAMES, 0.3)
    theirs = [row.bbox.to_xyxy() for row in one.object_prediction_list]
    np.testing.assert_allclose(theirs, own.bboxes, atol=1e-3)
    for each, name, score in zip(
        one.object_prediction_list, own.names, own.scores.tolist(), strict=True
    ):
        assert each.category.name == name
        assert each.score.value == pytest.approx(score)
    sliced = predict.get_sliced_prediction(
        image, model, 256, 256, 0.3, 0.3, perform_standard_pred=False, verbose=0
    )
    (ours,) = inferencer(image, NAMES, 0.3, slices=dict(size=256, overlap=0.3))
    found = sliced.object_prediction_list
    assert sorted(row.category.name for row in found) == sorted(ours.names)
    for row in found:  # SAHI's slices lie elsewhere
        gap = (ours.bboxes - torch.tensor(row.bbox.to_xyxy())).abs().amax(1)
        assert gap.min() < 9
