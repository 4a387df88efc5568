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


def test_thousands_of_names(monkeypatch):
    """Few that can be right together: the sparse way is the slow, obvious one."""
    generator = torch.Generator().manual_seed(0)
    logits = 8 * torch.randn(6, 300, generator=generator)
    logits[0, 7], logits[0, 9], logits[0, 11] = 60.0, 59.0, 20.0
    others = torch.randn(6, 20, generator=generator)
    apart = torch.rand(300, 310, generator=generator) < 0.004
    apart[:, :300] |= apart[:, :300].T
    apart[7, [9, 11]] = apart[[9, 11], 7] = True
    apart[9, 11] = False
    apart[range(300), range(300)] = False
    wanted = open_softmax(logits.double(), others.double(), apart)
    monkeypatch.setattr('fgclip2_det.models.open_softmax.LARGE', 1000)
    calls = []
    import fgclip2_det.models.open_softmax as module

    own = module._sparse
    monkeypatch.setattr(module, '_sparse', lambda *a: calls.append(1) or own(*a))
    got = open_softmax(logits, others, apart)
    assert calls and got.dtype == torch.float32
    torch.testing.assert_close(got, wanted.float(), atol=1e-6, rtol=1e-5)
    assert got[0, 7] > 0.999 and got[0, 9] > 0.999
    assert open_softmax(logits, others, apart).equal(got)  # what is kept
    dense = torch.rand(300, 310, generator=generator) < 0.5
    dense[range(300), range(300)] = False
    calls.clear()
    open_softmax(logits, others, dense)
    none = torch.zeros(300, 310, dtype=torch.bool)
    every = open_softmax(logits, others, none)
    columns = torch.cat([logits, others], 1)
    torch.testing.assert_close(every, columns.softmax(1)[:, :300])
    assert len(calls) == 1  # not for the dense one
