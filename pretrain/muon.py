"""Muon on a CPU."""

from __future__ import annotations

import math

import torch
from torch import Tensor

COEFFICIENTS = 3.4445, -4.7750, 2.0315  # of the quintic, those of torch.optim.Muon
NUM_ITERATIONS = 5
EPS = 1e-7


class CPUMuon(torch.optim.Muon):
    """``torch.optim.Muon`` at AdamW's scale, in float32 and many matrices at a time.

    PyTorch's own iterates in bfloat16, matrix by matrix. That is made for GPUs; on a
    CPU without bfloat16 units it takes many times as long as the rest of a small
    model's step (``benchmarks/muon.py``). Momentum, state and learning rates are its.

    Args:
        params: groups with ``lr`` and ``weight_decay``.
        momentum: Nesterov's.

    Reference: Muon is scalable for LLM training (arXiv:2502.16982), equation 4.
    """

    def __init__(self, params, momentum: float = 0.95) -> None:
        super().__init__(params, momentum=momentum, adjust_lr_fn='match_rms_adamw')

    @torch.no_grad()
    def step(self, closure=None):
        """One update of all groups."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group['params'] if p.grad is not None]
            updates = [self._momentum(p, group['momentum']) for p in parameters]
            for p, update in zip(parameters, orthogonalise(updates), strict=True):
                scale = 0.2 * math.sqrt(max(p.shape))
                p.mul_(1 - group['lr'] * group['weight_decay'])
                p.add_(update, alpha=-group['lr'] * scale)
        return loss

    def _momentum(self, parameter: Tensor, momentum: float) -> Tensor:
        assert parameter.grad is not None
        state, grad = self.state[parameter], parameter.grad
        if 'momentum_buffer' not in state:
            state['momentum_buffer'] = torch.zeros_like(grad)
        buffer = state['momentum_buffer'].lerp_(grad, 1 - momentum)
        return grad.lerp(buffer, momentum)


def orthogonalise(matrices: list[Tensor]) -> list[Tensor]:
    """Near the orthogonal factor U V^T of each matrix U S V^T, all singular values
    between 0.5 and 1.5, by Newton-Schulz iterations in float32.

    Args:
        matrices: any shapes; those of one shape, or its transpose, go together.

    Returns:
        Matrices of the same shapes, float32.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for place, matrix in enumerate(matrices):
        rows, columns = sorted(matrix.shape)
        groups.setdefault((rows, columns), []).append(place)
    found: dict[int, Tensor] = {}
    for places in groups.values():
        wide = torch.stack([_wide(matrices[place]).float() for place in places])
        for place, result in zip(places, _iterate(wide), strict=True):
            tall = matrices[place].shape[0] > matrices[place].shape[1]
            found[place] = result.T if tall else result
    return [found[place] for place in range(len(matrices))]


def _wide(matrix: Tensor) -> Tensor:
    return matrix.T if matrix.shape[0] > matrix.shape[1] else matrix


def _iterate(x: Tensor) -> Tensor:
    """(M, rows, columns), rows <= columns."""
    a, b, c = COEFFICIENTS
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=EPS)
    for _ in range(NUM_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(
            x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a
        )
    return x
