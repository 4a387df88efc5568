"""FG-CLIP 1 base on the picture of its own page: the softmax that the page prints."""

import os
from pathlib import Path

import pytest
import torch

import fgclip2_det
from fgclip2_det.reproduce.releases import ENCODERS

PICTURE = 'cat_dfclor.jpg'
TEXTS = ['a photo of a cat', 'a photo of a dog']
EXPECTED = [9.9997e-01, 3.3485e-05]


@pytest.mark.weights
@torch.no_grad()
def test_a_cat(released):
    load = getattr(fgclip2_det, 'load_encoder', None)
    if load is None:
        pytest.skip('this version of the package does not read FG-CLIP 1')
    picture = Path(os.environ.get('FGCLIP2_WEIGHTS', 'FOLDER')) / PICTURE
    reason = (
        f'{picture}: use_imgs/{PICTURE} of the branch v1.0 of '
        'https://github.com/360CVGroup/FG-CLIP'
    )
    folder = released(ENCODERS['fgclip1-base'], '' if picture.is_file() else reason)
    encoder = load(folder)
    actual = encoder(encoder.preprocess([picture]), TEXTS, 'short')[0].softmax(-1)
    torch.testing.assert_close(actual, torch.tensor(EXPECTED), atol=3e-5, rtol=0.1)
