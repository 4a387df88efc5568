"""FG-CLIP 2 base on a photograph: the values in transformers' pull request 41886.

Its texts are not lower-cased. Its long texts are known by their logits alone.
"""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from fgclip2_det import FGCLIP2
from fgclip2_det.reproduce.releases import ENCODERS

checks = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name('checks.py'))))
pytestmark = pytest.mark.weights
TEXTS = {
    'English': (
        [
            'Two cats sprawl on a pink sofa, blissed out.',
            'Bird hops on sunlit sill, pecking for crumbs.',
            'Elderly man jogs, smiling brightly.',
            'Post-rain street glows with rainbow reflections.',
            'Kids build sandcastles, laughter rides the waves.',
            'Students read quietly in the hushed library.',
        ],
        [7.1313, -12.3647, -26.1456, -22.0568, -17.3236, -13.9281],
    ),
    'Chinese': (
        [
            '两只猫瘫在粉沙发上，一脸惬意。',
            '小鸟蹦跳，啄食窗台阳光。',
            '老人晨跑，笑容满面。',
            '雨后街道，彩虹倒影美。',
            '孩子堆沙堡，笑声随浪飞。',
            '图书馆里，学生安静读书。',
        ],
        [6.5309, -16.2254, -18.9228, -16.0596, -15.2771, -13.9292],
    ),
}
# softmax over the boxes; right is the remote control
BOXES = [[345.0, 27.0, 640.0, 372.0], [41.0, 74.0, 177.0, 118.0]]
SHARES = [2.0169e-05, 9.9998e-01]


@pytest.mark.parametrize('language', TEXTS)
def test_short_texts(language, released, cats):
    """A logit is about 100 times a cosine: cosines are right to 5e-4."""
    picture, reason = cats
    encoder = FGCLIP2.from_pretrained(released(ENCODERS['fgclip2-base'], reason))
    texts, expected = TEXTS[language]
    actual = checks.global_logits(encoder, picture, texts)
    torch.testing.assert_close(actual, torch.tensor(expected), atol=0.05, rtol=0)


def test_a_region(released, cats):
    picture, reason = cats
    encoder = FGCLIP2.from_pretrained(released(ENCODERS['fgclip2-base'], reason))
    actual = checks.softmax_of_boxes(encoder, picture, BOXES, 'remote control')
    torch.testing.assert_close(actual, torch.tensor(SHARES), atol=1e-5, rtol=0.05)
