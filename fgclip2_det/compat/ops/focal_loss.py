"""Sigmoid and softmax focal loss.

``weight`` is (C,) or empty; a label outside 0..C-1 (background) has weight 1.

Reference: RetinaNet (arXiv:1708.02002), equation 5.
"""

import torch
from torch import Tensor

from fgclip2_det.compat.ops.backends import compute_dtype

TINY = torch.finfo(torch.float32).tiny  # the compiled op's floor inside logarithms


def sigmoid_focal_loss_forward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    output: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Fill ``output`` (N, C) with the loss of logits (N, C) and labels (N,)."""
    prob, is_label = _probabilities(input, target)
    positive = alpha * (1 - prob).pow(gamma) * _log(prob)
    negative = (1 - alpha) * prob.pow(gamma) * _log(1 - prob)
    loss = -torch.where(is_label, positive, negative)
    output.copy_(loss * _class_weights(target, weight, loss)[:, None])


def sigmoid_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Fill ``grad_input`` (N, C) with the loss's derivative by the logits."""
    prob, is_label = _probabilities(input, target)
    rest = 1 - prob
    positive = alpha * rest.pow(gamma) * (rest - gamma * prob * _log(prob))
    negative = (1 - alpha) * prob.pow(gamma) * (gamma * rest * _log(rest) - prob)
    grad = -torch.where(is_label, positive, negative)
    grad_input.copy_(grad * _class_weights(target, weight, grad)[:, None])


def softmax_focal_loss_forward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    output: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Fill ``output`` (N,) from softmax values (N, C); 0 for labels < 0."""
    prob = _label_probability(input, target)
    loss = -alpha * (1 - prob).pow(gamma) * _log(prob)
    loss = loss * _class_weights(target, weight, loss)
    output.copy_(loss.masked_fill(target < 0, 0))


def softmax_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    buff: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Fill ``grad_input`` (N, C), by the logits; ``buff`` (N,) is scratch."""
    prob = _label_probability(input, target)
    rest = 1 - prob
    slope = gamma * rest.pow(gamma - 1) * prob * _log(prob) - rest.pow(gamma)
    slope = alpha * slope * _class_weights(target, weight, prob)
    buff.copy_(slope.masked_fill(target < 0, 0))
    is_label = target[:, None] == torch.arange(input.shape[1], device=input.device)
    grad_input.copy_(buff.to(prob)[:, None] * (is_label.to(prob) - input))


def _probabilities(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Sigmoid of (N, C) logits, and True at each row's label."""
    classes = torch.arange(input.shape[1], device=input.device)
    return input.detach().to(compute_dtype(input)).sigmoid(), target[:, None] == classes


def _label_probability(softmax: Tensor, target: Tensor) -> Tensor:
    softmax = softmax.detach().to(compute_dtype(softmax))
    return softmax.gather(1, target.clamp(min=0)[:, None])[:, 0]


def _class_weights(target: Tensor, weight: Tensor, like: Tensor) -> Tensor:
    """(N,) weight of each row's label; ones when ``weight`` is empty."""
    if weight.numel() == 0:
        return like.new_ones(len(target))
    known = (target >= 0) & (target < len(weight))
    return torch.where(known, weight.to(like)[target * known], 1)


def _log(prob: Tensor) -> Tensor:
    return prob.clamp(min=TINY).log()
