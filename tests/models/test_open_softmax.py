"""Softmax with competitors, against sums written out; calibration of scores."""

import math

import pytest
import torch
from torch import Tensor

from fgclip2_det.models.open_softmax import open_softmax
from fgclip2_det.models.score_calibration import ScoreCalibration


def by_definition(logits: Tensor, others: Tensor, apart: Tensor) -> Tensor:
    """Every probability as a quotient of sums, in float64."""
    result = torch.zeros(logits.shape, dtype=torch.float64)
    for i, row in enumerate(logits.tolist()):
        columns = row + others[i].tolist()
        for c, own in enumerate(row):
            free = apart[c].tolist() + [False] * (len(columns) - apart.shape[1])
            rivals = [x for x, gone in zip(columns, free, strict=True) if not gone]
            result[i, c] = math.exp(own) / sum(math.exp(x) for x in rivals)
    return result


@pytest.mark.parametrize(
    'num_names, num_others, tied',
    [(1, 3, 0), (2, 0, 0), (5, 7, 0), (1, 0, 0), (5, 7, 3), (1, 4, 4), (3, 2, 1)],
)
@pytest.mark.parametrize('seed', [0, 1])
def test_as_defined(num_names: int, num_others: int, tied: int, seed: int):
    torch.manual_seed(seed)
    logits, others = 4 * torch.randn(6, num_names), 4 * torch.randn(6, num_others)
    apart = torch.rand(num_names, num_names + tied) < 0.4
    apart.fill_diagonal_(False)
    expected = by_definition(logits, others, apart)
    got = open_softmax(logits, others, apart)
    torch.testing.assert_close(got.double(), expected, atol=1e-6, rtol=1e-5)


def test_names_that_all_compete_are_a_softmax():
    logits, others = torch.randn(4, 3), torch.randn(4, 2)
    plain = torch.cat([logits, others], 1).softmax(1)[:, :3]
    assert torch.equal(open_softmax(logits, others), plain)
    none = torch.zeros(3, 3, dtype=torch.bool)
    assert torch.equal(open_softmax(logits, others, none), plain)
    assert torch.equal(open_softmax(logits), logits.softmax(1))


def test_a_name_asked_with_its_synonym_keeps_its_score():
    others = torch.randn(5, 4)
    own = torch.randn(5, 1)
    alone = open_softmax(own, others)
    apart = ~torch.eye(2, dtype=torch.bool)
    both = open_softmax(torch.cat([own, own + 0.1], 1), others, apart)
    torch.testing.assert_close(both[:, :1], alone)


def test_a_synonym_that_leaves_nothing_to_others():
    logits = torch.tensor([[0.0, 200.0]])
    apart = ~torch.eye(2, dtype=torch.bool)
    scores = open_softmax(logits, torch.tensor([[-30.0]]), apart)
    assert scores.isfinite().all() and float(scores.max()) <= 1


def test_calibration_moves_logits():
    scores = torch.tensor([[0.0, 0.2, 0.5], [0.9, 1.0, 1e-9]])
    is_base = torch.tensor([True, False, True])
    moved = ScoreCalibration(base=-1.05, novel=0.4)(scores, is_base)
    shift = torch.tensor([-1.05, 0.4, -1.05])
    expected = (scores.double().logit() + shift).sigmoid()
    torch.testing.assert_close(moved.double(), expected, atol=1e-7, rtol=1e-5)
    assert torch.equal(ScoreCalibration()(scores, is_base), scores)


def test_calibration_refuses_what_is_no_number():
    with pytest.raises(ValueError, match='novel must be a number'):
        ScoreCalibration(novel='high')
