"""Label maps in the colours of their names."""

import numpy as np
import pytest
from PIL import Image

from fgclip2_det.visualization import class_color, draw_label_map


def test_pixels_are_tinted_and_others_stay():
    """60 % of the colour; row 1 is a name, 255 and -1 are none."""
    labels = np.full((96, 160), 255)
    labels[40:90, 20:120], labels[:4] = 1, -1
    image = Image.new('RGB', (160, 96), (100, 100, 100))
    drawn = np.asarray(draw_label_map(image, labels, ['cat', '草']))
    expected = 100 + 0.6 * (np.array(class_color('草')) - 100)
    assert np.abs(drawn[80, 70] - expected).max() <= 1
    assert tuple(drawn[80, 150]) == tuple(drawn[1, 150]) == (100, 100, 100)
    assert np.asarray(image).max() == 100


def test_no_name_and_enlarged():
    labels = np.full((5, 7), 255)
    drawn = draw_label_map(Image.new('RGB', (7, 5)), labels, [], min_size=70, title='x')
    assert drawn.size == (70, 50)


def test_sizes_that_differ():
    with pytest.raises(ValueError, match=r'\(5, 7\) \(h, w\) pixels needs a label map'):
        draw_label_map(Image.new('RGB', (7, 5)), np.zeros((7, 5), int), ['a'])
