"""Muon on a CPU against one matrix at a time in float64, and against torch's."""

import copy

import pytest
import torch
from torch import Tensor, nn

from pretrain.muon import COEFFICIENTS, CPUMuon, orthogonalise

SHAPES = [(6, 4), (4, 6), (3, 9), (4, 6), (5, 5), (1, 7), (2, 1)]
MUON = getattr(torch.optim, 'Muon', None)  # from PyTorch 2.9


def matrices(shapes=SHAPES, seed: int = 0) -> list[Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=draw) for shape in shapes]


def reference(matrix: Tensor) -> Tensor:
    """The quintic on singular values, by the SVD in float64."""
    u, s, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    s = s / matrix.double().norm()
    a, b, c = COEFFICIENTS
    for _ in range(5):
        s = a * s + b * s**3 + c * s**5
    return u @ s.diag() @ v


@pytest.mark.parametrize('shape', [(6, 4), (5, 5), (1, 7), (2, 1)])
def test_matrices_together_as_one_by_one(shape):
    given = matrices([shape, shape[::-1], shape])
    for found, matrix in zip(orthogonalise(given), given, strict=True):
        assert found.shape == matrix.shape
        torch.testing.assert_close(
            found.double(), reference(matrix), atol=1e-4, rtol=1e-4
        )


def test_singular_values_come_near_1():
    (found,) = orthogonalise(matrices([(32, 64)]))
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.5 and values.max() < 1.5


def test_zeros_and_float64():
    (found,) = orthogonalise([torch.zeros(3, 4)])
    assert not found.any()
    (given,) = matrices([(3, 4)])
    (found,) = orthogonalise([given.double()])
    torch.testing.assert_close(found, reference(given), atol=1e-12, rtol=1e-10)


def stepped(together: int, monkeypatch) -> list[Tensor]:
    monkeypatch.setattr('pretrain.muon.TOGETHER', together)
    parameters = [nn.Parameter(m) for m in matrices()]
    optimizer = CPUMuon(parameters, lr=0.1)
    for parameter, grad in zip(parameters, matrices(seed=1), strict=True):
        parameter.grad = grad
    optimizer.step()
    return [parameter.detach() for parameter in parameters]


def test_all_shapes_and_any_number_at_once(monkeypatch):
    """Against the rule by hand at the first step, momentum 0.95 with Nesterov's."""
    every, alone = stepped(1 << 22, monkeypatch), stepped(1, monkeypatch)
    for start, grad, a, b in zip(
        matrices(), matrices(seed=1), every, alone, strict=True
    ):
        update = grad * 0.05 + 0.95 * (0.05 * grad)
        scale = 0.1 * 0.2 * max(start.shape) ** 0.5
        wanted = start.double() * (1 - 0.1 * 0.1) - scale * reference(update)
        torch.testing.assert_close(a.double(), wanted, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(a, b)


LONG = [(8, 32), (32, 8), (16, 40), (8, 32)]  # far from singular


def steps(optimizer, parameters: list[nn.Parameter], first: int, last: int) -> None:
    for seed in range(first, last):
        for parameter, grad in zip(parameters, matrices(LONG, seed), strict=True):
            parameter.grad = grad
        optimizer.step()


@pytest.mark.skipif(MUON is None, reason='this PyTorch has no Muon')
@pytest.mark.parametrize('decay', [0.0, 0.3])
def test_six_steps_are_those_of_torch(decay):
    """Within bfloat16, in which torch's iterates; and their states are one's own."""
    ours, theirs = ([nn.Parameter(m) for m in matrices(LONG)] for _ in range(2))
    options = dict(lr=0.02, weight_decay=decay)
    one = CPUMuon([dict(params=ours, **options)], momentum=0.9)
    other = torch.optim.Muon(
        theirs, momentum=0.9, adjust_lr_fn='match_rms_adamw', **options
    )
    steps(one, ours, 1, 4)
    steps(other, theirs, 1, 4)
    one.load_state_dict(copy.deepcopy(other.state_dict()))
    steps(one, ours, 4, 7)
    steps(other, theirs, 4, 7)
    for start, a, b in zip(matrices(LONG), ours, theirs, strict=True):
        moved = (a - start).detach().norm()
        assert (a - b).detach().norm() < 0.02 * moved, start.shape
    for a, b in zip(one.state.values(), other.state.values(), strict=True):
        torch.testing.assert_close(a['momentum_buffer'], b['momentum_buffer'])


def test_parameters_without_a_gradient_stay():
    still, moved = (nn.Parameter(m) for m in matrices(SHAPES[:2]))
    moved.grad = torch.ones_like(moved)
    before = still.detach().clone(), moved.detach().clone()
    CPUMuon([dict(params=[still, moved], lr=0.1, weight_decay=0.1)]).step()
    assert torch.equal(still, before[0]) and not torch.equal(moved, before[1])
