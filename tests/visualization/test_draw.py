"""Boxes, plates, colours and sheets."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageFont

from fgclip2_det.visualization import class_color, contact_sheet, draw_detections
from fgclip2_det.visualization.draw import FONT, _overlap, _place


@pytest.fixture
def grey() -> np.ndarray:
    return np.full((96, 160, 3), 128, np.uint8)


def test_box_is_painted_in_the_colour_of_its_name(grey):
    """Box 20, 40, 120, 90: its last painted pixels are column 119 and row 89."""
    drawn = np.asarray(draw_detections(grey, [[20, 40, 120, 90]], ['dog'], [0.9]))
    color = class_color('dog')
    for row, column in [(60, 20), (60, 119), (89, 70)]:
        assert tuple(drawn[row, column]) == color
    assert tuple(drawn[60, 70]) == (128, 128, 128)
    assert (grey == 128).all()  # the image given stays as it was


def test_colours_are_stable_and_differ():
    assert class_color('black cat') == class_color('black cat')
    names = ['black cat', '白色杯子', 'person', 'dog', 'car', 'bus', '红色三角形']
    assert len({class_color(name) for name in names}) == len(names)


@pytest.mark.parametrize('size', [(8, 8), (60, 40), (480, 640), (2000, 3000)])
def test_any_size_and_any_text(size):
    texts = ['白色杯子', 'a cat ' * 40, '😀 emoji', '', 'two\nlines\x00']
    boxes = [[-5, -5, 4, 4], [0, 0, *size[::-1]], [2, 2, 2, 2], [1, 1, 9e9, 3]]
    boxes.append([5, 5, 3, 3])
    drawn = draw_detections(np.zeros((*size, 3), np.uint8), boxes, texts, [0.5] * 5)
    assert drawn.size == size[::-1]


def test_missing_glyph_is_a_visible_box():
    font = ImageFont.truetype(str(FONT), 20)
    smiley, unassigned = (font.getmask(c) for c in ('😀', '\U0003ffff'))
    assert bytes(smiley) == bytes(unassigned) and sum(bytes(smiley)) > 0
    assert bytes(font.getmask('猫')) != bytes(smiley)


def test_font_covers_english_chinese_and_is_small():
    font = ImageFont.truetype(str(FONT), 20)
    missing = bytes(font.getmask('\U0003ffff'))
    for char in 'Zé猫杯齄，。（）“”…—':
        assert bytes(font.getmask(char)) != missing, char
    assert FONT.stat().st_size < 2.5e6


def test_plates_move_aside_and_stay_inside():
    """Six equal boxes: no plate covers another, none leaves the image."""
    taken = []
    for _ in range(6):
        spot = _place((100, 5, 160, 80), (50, 15), (160, 96), taken)
        assert spot[0] >= 0 and spot[2] <= 160 and spot[1] >= 0 and spot[3] <= 96
        assert not any(_overlap(spot, other) for other in taken)
        taken.append(spot)


def test_thresholds_and_the_empty_case(grey):
    plain = draw_detections(grey, np.zeros((0, 4)), [], [])
    assert (np.asarray(plain) == grey).all()
    args = (grey, [[5, 5, 50, 50]], ['dog'], torch.tensor([0.2]))
    assert (np.asarray(draw_detections(*args, score_thr=0.3)) == grey).all()
    assert (np.asarray(draw_detections(*args, max_boxes=0)) == grey).all()
    assert (np.asarray(draw_detections(*args)) != grey).any()
    assert draw_detections(*args, min_size=320).size == (320, 192)


def test_image_kinds():
    for mode in ('L', 'RGBA', 'CMYK', 'I;16', '1'):
        image = Image.new(mode, (50, 40))
        drawn = draw_detections(image, torch.tensor([[5, 5, 20, 20]]), ['cat'])
        assert (drawn.mode, drawn.size) == ('RGB', (50, 40))


def test_opened_images_are_drawn_as_they_are_seen(tmp_path):
    """16 bit, and turned by its orientation: what the inferencer's boxes are in."""
    exif = Image.Exif()
    exif[0x112] = 6
    pixels = np.full((40, 50), 20_000, np.uint16)
    Image.fromarray(pixels).save(tmp_path / 'a.png', exif=exif)
    with Image.open(tmp_path / 'a.png') as image:
        drawn = draw_detections(image, torch.zeros(0, 4), [])
    assert drawn.size == (40, 50) and drawn.getpixel((20, 20)) == (78, 78, 78)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'texts': []}, 'got 1 boxes, 0 texts'),
        ({'scores': [0.1, 0.2]}, '2 scores'),
        ({'bboxes': [[0, 0, np.nan, 1]]}, 'box 0 is not finite'),
        ({'image': np.zeros((9, 9), np.uint8)}, r'got \(9, 9\) uint8'),
        ({'image': np.zeros((9, 9, 3))}, 'float64'),
    ],
)
def test_bad_input(grey, changes, message):
    good = {'image': grey, 'bboxes': [[0, 0, 9, 9]], 'texts': ['a'], 'scores': [1.0]}
    with pytest.raises(ValueError, match=message):
        draw_detections(**good | changes)


def test_contact_sheet():
    """Cells of 40 x 30 and gaps of 8: 2 x 48 + 8 wide, 2 x 38 + 8 high."""
    panes = [Image.new('RGB', size) for size in [(40, 20), (10, 30), (40, 30)]]
    assert contact_sheet(panes, columns=2).size == (104, 84)
    assert contact_sheet(panes[:1], columns=4).size == (56, 36)
    with pytest.raises(ValueError, match='0 images'):
        contact_sheet([])
