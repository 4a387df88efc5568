"""Equality with the loss values that the released code gives on one process.

``losses.npz`` holds normalised embeddings and values, nothing of which is a formula:
6 pairs, 24 regions with one phrase each, 5 regions with 1 + 10 texts. Relative
difference to expect: 1e-5.
"""

import numpy as np
import pytest
import torch

from pretrain.losses import (
    cmr_loss,
    hard_contrastive_loss,
    hard_cosines,
    hard_negative_loss,
    next_threshold,
    region_text_loss,
    sigmoid_loss,
    tic_loss,
)

THRESHOLDS = ('0.0', '3.7')
INPUTS = (
    *('image', 'short', 'long', 'region_image', 'region_text', 'hard_image'),
    *('hard_text', 'logit_scale', 'logit_bias', 'logit_scale_finegrained'),
    'logit_scale_hardneg',
)
VALUES = (
    *('loss_sigmoid_short', 'loss_sigmoid_long', 'loss_region_contrastive'),
    *('loss_tic', 'loss_hard_pair_ce'),
    *(f'loss_cmr_threshold_{t}' for t in THRESHOLDS),
    *(f'loss_next_threshold_{t}' for t in THRESHOLDS),
    *(f'loss_hard_total_threshold_{t}' for t in THRESHOLDS),
)


@pytest.fixture(scope='module')
def golden(fgclip2_tiny) -> dict[str, torch.Tensor]:
    arrays = np.load(fgclip2_tiny / 'losses.npz')
    return {name: torch.from_numpy(arrays[name]) for name in arrays}


@pytest.fixture(scope='module')
def hard(golden):
    """Regions, texts, row numbers and indices as the functions take them."""
    texts = golden['hard_text'].flatten(0, 1)  # (5, 11, D) -> (55, D)
    return golden['hard_image'], texts, torch.arange(5), torch.arange(55).view(5, 11)


def close(actual, golden, name):
    torch.testing.assert_close(actual.double(), golden[name], rtol=1e-5, atol=0)


def test_every_value_of_the_file_is_tested(golden):
    assert set(golden) == {*INPUTS, *VALUES}


@pytest.mark.parametrize('text', ['short', 'long'])
@pytest.mark.parametrize('chunk_size', [1024, 4, 1])
def test_sigmoid(golden, text, chunk_size):
    scale, bias = golden['logit_scale'], golden['logit_bias']
    embeds = golden['image'], golden[text]
    loss = sigmoid_loss(*embeds, scale, bias, chunk_size=chunk_size)
    close(loss, golden, f'loss_sigmoid_{text}')


@pytest.mark.parametrize('form', ['identity', 'distinct'])
def test_region_text(golden, form):
    """No phrase is shared, so both forms are the released loss."""
    embeds, index = (golden['region_image'], golden['region_text']), torch.arange(24)
    scale = golden['logit_scale_finegrained']
    loss = region_text_loss(*embeds, index, index, scale, form=form)
    close(loss, golden, 'loss_region_contrastive')


@pytest.mark.parametrize('similar', ['zero', 'remove'])
def test_tic(golden, similar):
    """No cosine is over 0.95 and ten are over 0, so both forms are the released."""
    close(tic_loss(golden['region_text'], similar=similar), golden, 'loss_tic')


def test_hard_pair(golden, hard):
    loss = hard_negative_loss(*hard, golden['logit_scale_hardneg'])
    close(loss, golden, 'loss_hard_pair_ce')


@pytest.mark.parametrize('threshold', THRESHOLDS)
def test_cmr_and_weighted_sum(golden, hard, threshold):
    """Released weights: 0.6 contrastive + 3 softmax + 0.4 CMR of scaled cosines."""
    scale = golden['logit_scale_hardneg']
    positive, negative, valid = hard_cosines(*hard)
    scaled = positive * scale.exp(), negative * scale.exp(), valid
    cmr = cmr_loss(*scaled, float(threshold))
    close(cmr, golden, f'loss_cmr_threshold_{threshold}')
    following = next_threshold(*scaled, per_negative=False)
    close(following, golden, f'loss_next_threshold_{threshold}')
    contrastive = hard_contrastive_loss(*hard, scale)
    total = 0.6 * contrastive + 3 * hard_negative_loss(*hard, scale) + 0.4 * cmr
    close(total, golden, f'loss_hard_total_threshold_{threshold}')
