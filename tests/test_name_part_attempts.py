"""What ``benchmarks.name_parts`` adds to the recipe of names made of parts."""

import numpy as np
import torch

import fgclip2_det.registration  # isort: skip
from mmdet.structures.bbox import HorizontalBoxes
from PIL import Image

from benchmarks.name_parts import REGIONS, continue_encoder, free_boxes, negatives
from benchmarks.paste_objects import PasteObjects
from fgclip2_det import FGCLIP2

PARTS = {
    f'{color} {thing}': [color, thing]
    for color in ('red', 'blue', 'green')
    for thing in ('cup', 'mug')
}
BASE = ['red cup', 'red mug', 'blue cup', 'green mug']


def test_negatives_differ_in_one_part():
    assert negatives(PARTS, BASE, 0) == {
        'red cup': ['blue cup'],
        'red mug': ['green mug'],
        'blue cup': ['red cup'],
        'green mug': ['red mug'],
    }
    assert negatives(PARTS, BASE, 1) == {'red cup': ['red mug'], 'red mug': ['red cup']}


def photograph(seed: int, boxes: list[list[int]]) -> np.ndarray:
    """(240, 320, 3): bright discs in the boxes on a dark floor."""
    rng = np.random.default_rng(seed)
    image = rng.integers(20, 40, (240, 320, 3), np.uint8)
    rows, columns = np.mgrid[:240, :320]
    for x1, y1, x2, y2 in boxes:
        across = (columns - (x1 + x2) / 2) / (x2 - x1)
        down = (rows - (y1 + y2) / 2) / (y2 - y1)
        image[across**2 + down**2 < 0.24] += 180
    return image


def loaded(image: np.ndarray, boxes: list[list[int]], crowds: list[bool]) -> dict:
    return dict(
        img=image.copy(),
        gt_bboxes=HorizontalBoxes(np.array(boxes, np.float32).reshape(-1, 4)),
        gt_bboxes_labels=np.arange(len(boxes)) + 3,
        gt_ignore_flags=np.array(crowds, bool),
    )


def test_pasted_objects_lie_where_no_label_is():
    boxes = [[20, 30, 60, 80], [150, 60, 210, 120], [250, 150, 300, 220]]
    image = photograph(0, boxes)
    step = PasteObjects(num=3)
    np.random.seed(1)
    out = step.transform(loaded(image, boxes, [False, False, True]))
    found = out['gt_bboxes'].tensor.numpy()
    labels, flags = out['gt_bboxes_labels'], out['gt_ignore_flags']
    assert len(found) == len(labels) == len(flags) > 3
    np.testing.assert_array_equal(found[:3], boxes)
    assert flags.tolist() == [False, False, True] + [False] * (len(found) - 3)
    sizes = {3: (40, 50), 4: (60, 60)}  # the crowd is not among the pasted
    for i in range(3, len(found)):
        x1, y1, x2, y2 = found[i]
        assert (x2 - x1, y2 - y1) == sizes[int(labels[i])]
        middle = out['img'][int(y1 + y2) // 2, int(x1 + x2) // 2]
        assert (middle > 150).all()
        low = np.maximum(found[:i, :2], found[i, :2])
        high = np.minimum(found[:i, 2:], found[i, 2:])
        assert not (high > low).all(1).any()
    for x1, y1, x2, y2 in boxes:
        np.testing.assert_array_equal(out['img'][y1:y2, x1:x2], image[y1:y2, x1:x2])
    np.random.seed(1)
    again = PasteObjects(num=3).transform(loaded(image, boxes, [False, False, True]))
    np.testing.assert_array_equal(again['img'], out['img'])


def test_an_empty_photograph_gets_those_before_it():
    boxes = [[20, 30, 60, 80]]
    step = PasteObjects(num=2)
    np.random.seed(0)
    empty = photograph(1, [])
    out = step.transform(loaded(empty, [], []))
    np.testing.assert_array_equal(out['img'], empty)
    assert len(out['gt_bboxes']) == 0
    step.transform(loaded(photograph(0, boxes), boxes, [False]))
    assert len(step.transform(loaded(empty, [], []))['gt_bboxes']) == 2


def test_free_boxes_touch_no_label():
    labelled = np.array([[10, 10, 40, 60], [100, 80, 140, 140]], np.float32)
    boxes = free_boxes(labelled, (320, 240), np.random.default_rng(0))
    assert boxes.shape == (REGIONS, 4)
    assert (boxes >= 0).all() and (boxes[:, 2:] <= [320, 240]).all()
    sides = boxes[:, 2:] - boxes[:, :2]
    low = np.maximum(boxes[:, None, :2], labelled[:, :2])
    high = np.minimum(boxes[:, None, 2:], labelled[:, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    assert (shared < 0.1 * sides.prod(1)[:, None]).all()
    whole = np.array([[0, 0, 320, 240]], np.float32)
    assert free_boxes(whole, (320, 240), np.random.default_rng(0)).shape == (0, 4)


def test_the_encoder_is_continued_on_crops(tmp_path):
    boxes = [[20, 30, 60, 80]]
    for i in range(2):
        Image.fromarray(photograph(i, boxes)).save(tmp_path / f'{i}.png')
    photographs = [
        (tmp_path / f'{i}.png', np.array(boxes, np.float32)) for i in range(2)
    ]
    one, two = (continue_encoder(photographs, 0, steps=2) for _ in range(2))
    before = FGCLIP2.from_pretrained('fgclip2_tiny').state_dict()
    after = one.state_dict()
    for name, value in two.state_dict().items():
        torch.testing.assert_close(value, after[name], rtol=0, atol=0)
        if not name.startswith('vision_model'):
            torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    weight = 'vision_model.encoder.layers.0.mlp.fc1.weight'
    assert not torch.equal(after[weight], before[weight])
