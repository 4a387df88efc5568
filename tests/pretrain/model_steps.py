"""A training step of an alignment model, and its gradients."""

import torch


def step(model, batch) -> dict[str, torch.Tensor]:
    """Losses, after the gradients of their sum have been added up."""
    outputs = model(batch, mode='loss')
    model.parse_losses(outputs)[0].backward()
    return {name: value.detach() for name, value in outputs.items()}


def gradients(model) -> dict[str, torch.Tensor]:
    return {n: p.grad for n, p in model.named_parameters() if p.requires_grad}


def without_gradient(model) -> list[str]:
    return [name for name, grad in gradients(model).items() if grad is None]
