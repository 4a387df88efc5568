"""Muon on a CPU."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

COEFFICIENTS = 3.4445, -4.7750, 2.0315  # of the quintic, those of torch.optim.Muon
NUM_ITERATIONS = 5
EPS = 1e-7
TOGETHER = 1 << 22  # numbers of matrices that are iterated at once


class CPUMuon(torch.optim.Optimizer):
    """Muon at AdamW's scale, in float32 and many matrices at a time.

    ``torch.optim.Muon`` iterates in bfloat16, matrix by matrix. That is made for GPUs;
    on a CPU without bfloat16 units it takes many times as long as the rest of a small
    model's step (``benchmarks/muon.py``). Momentum, state and learning rates are its.

    Args:
        params: groups of matrices, with ``lr`` and ``weight_decay``.
        lr: of groups that name none.
        weight_decay: decoupled, likewise.
        momentum: Nesterov's.

    Reference: Muon is scalable for LLM training (arXiv:2502.16982), equation 4.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
    ) -> None:
        super().__init__(params, dict(lr=lr, weight_decay=weight_decay))
        self.momentum = momentum

    @torch.no_grad()
    def step(self, closure=None):
        """One update of all groups."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            lr, decay = group['lr'], group['weight_decay']
            parameters = [p for p in group['params'] if p.grad is not None]
            for some in _of_one_shape(parameters):
                updates = orthogonalise([self._momentum(p) for p in some])
                for p, update in zip(some, updates, strict=True):
                    p.mul_(1 - lr * decay)
                    p.add_(update, alpha=-lr * 0.2 * math.sqrt(max(p.shape)))
        return loss

    def _momentum(self, parameter: nn.Parameter) -> Tensor:
        assert parameter.grad is not None
        state, grad = self.state[parameter], parameter.grad
        if 'momentum_buffer' not in state:
            state['momentum_buffer'] = torch.zeros_like(grad)
        buffer = state['momentum_buffer'].lerp_(grad, 1 - self.momentum)
        return grad.lerp(buffer, self.momentum)


def _of_one_shape(parameters: list[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Parameters of one shape, or of its transpose, as many as go together."""
    groups: dict[tuple[int, ...], list[nn.Parameter]] = {}
    for parameter in parameters:
        groups.setdefault(tuple(sorted(parameter.shape)), []).append(parameter)
    for shape, group in groups.items():
        size = max(TOGETHER // math.prod(shape), 1)
        yield from (group[i : i + size] for i in range(0, len(group), size))


def orthogonalise(matrices: list[Tensor]) -> list[Tensor]:
    """Near the orthogonal factor U V^T of each matrix U S V^T, by Newton-Schulz
    iterations; singular values that are not near 0 come between 0.5 and 1.5.

    Args:
        matrices: of one shape or its transpose.

    Returns:
        Matrices of the same shapes, float32 or wider.
    """
    wide = torch.stack([_wide(matrix) for matrix in matrices])
    found = _iterate(wide.to(torch.promote_types(wide.dtype, torch.float32)))
    return [
        result.T if matrix.shape[0] > matrix.shape[1] else result
        for matrix, result in zip(matrices, found, strict=True)
    ]


def _wide(matrix: Tensor) -> Tensor:
    return matrix.T if matrix.shape[0] > matrix.shape[1] else matrix


def _iterate(x: Tensor) -> Tensor:
    """(M, rows, columns), rows <= columns."""
    a, b, c = COEFFICIENTS
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=EPS)
    for _ in range(NUM_ITERATIONS):
        gram = x @ x.mT
        gram = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, gram, x, beta=a)
    return x
