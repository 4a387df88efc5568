"""Gradients of an unfinished update, which checkpoints bring along."""

from __future__ import annotations

from collections.abc import Mapping
from logging import INFO, WARNING
from typing import Any

import torch
from mmengine.dist import all_gather, broadcast, get_rank, get_world_size
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn


def gather_gradients(runner: Runner) -> dict[str, Any] | None:
    """What the iterations since the last update have accumulated; collective.

    With ``optim_wrapper.accumulative_counts`` = n, weights change every n iterations.
    The gradients of the iterations in between are in no other part of a checkpoint.
    Between updates they differ from process to process.

    Returns:
        None right after an update, and in a ``FlexibleRunner``; otherwise ``counts``
        (n), ``done`` (iterations since the last update), ``weight`` (of one iteration
        in its update) and ``gradients``, {name: tensor on the CPU} for each process;
        empty in all processes but the first, which saves them.
    """
    counts, done = _progress(runner)
    if not done or not isinstance(runner, Runner):  # a FlexibleRunner's are shards
        return None
    params = _parameters(runner)
    own = torch.tensor([p.grad is not None for p in params.values()])
    present = torch.stack(all_gather(own.to(_device(params), torch.uint8))).bool()
    ranks: list[dict[str, Tensor]] = [{} for _ in present]
    for (name, param), flags in zip(params.items(), present.T.tolist(), strict=True):
        if not any(flags):
            continue
        grad = torch.zeros_like(param) if param.grad is None else param.grad
        for rank in (rank for rank, flag in enumerate(flags) if flag):
            part = grad.clone()  # one more at a time, not one of each process
            broadcast(part, rank)
            if get_rank() == 0:
                ranks[rank][name] = part.cpu()
    return dict(counts=counts, done=done, weight=_weight(runner), gradients=ranks)


def own_gradients(saved: Any) -> Any:
    """What :func:`gather_gradients` has returned, with this process's part alone, on
    the CPU; as it is if it is something else."""
    if not isinstance(saved, Mapping) or not _is_whole(saved):
        return saved
    parts: list[dict[str, Tensor]] = [{} for _ in saved['gradients']]
    if (rank := get_rank()) < len(parts):
        own = saved['gradients'][rank]
        parts[rank] = {name: grad.cpu() for name, grad in own.items()}
    return {**saved, 'gradients': parts}


def restore_gradients(runner: Runner, saved: Any) -> None:
    """Give the parameters the gradients of an unfinished update, and log it.

    A warning says so if they are not those of the update that goes on.

    Args:
        runner: resumed, about to train.
        saved: from :func:`gather_gradients`; None if the checkpoint holds none.
    """
    counts, done = _progress(runner)
    if not done:
        return
    params = _parameters(runner)
    if isinstance(runner, Runner):
        lack = _lack(saved, counts, done, params)
    else:
        lack = f'a {type(runner).__name__} keeps no gradients of them'
    if lack:
        print_log(
            f'the training goes on after {done} of the {counts} iterations of an '
            f'update, and {lack}: the update is made of the others alone; to lose '
            f'nothing, resume from a checkpoint at a multiple of {counts} iterations',
            'current',
            WARNING,
        )
        return
    factor = _weight(runner) / saved['weight']  # 1, unless the training's end moved
    for name, grad in saved['gradients'][get_rank()].items():
        params[name].grad = grad.to(params[name]).mul_(factor)
    print_log(
        f'the gradients of the {done} iterations before the checkpoint are those that '
        'it holds: none is lost, whatever a warning of MMEngine says above',
        'current',
        INFO,
    )


def _progress(runner: Runner) -> tuple[int, int]:
    """Iterations an update, and those done since the last one."""
    wrapper: Any = runner.optim_wrapper
    counts = getattr(wrapper, '_accumulative_counts', 1)  # DeepSpeed counts itself
    if counts == 1 or wrapper.should_update():
        return counts, 0
    return counts, wrapper.inner_count % counts


def _weight(runner: Runner) -> float:
    """What MMEngine multiplies the loss of an iteration by."""
    return float(runner.optim_wrapper.scale_loss(torch.ones((), dtype=torch.double)))


def _parameters(runner: Runner) -> dict[str, nn.Parameter]:
    """Those that the optimizer updates, by their names in the checkpoint."""
    model: Any = runner.model
    model = model.module if is_model_wrapper(model) else model
    groups = runner.optim_wrapper.optimizer.param_groups
    own = {id(param) for group in groups for param in group['params']}
    return {name: p for name, p in model.named_parameters() if id(p) in own}


def _device(params: Mapping[str, nn.Parameter]) -> torch.device:
    return next(iter(params.values())).device


def _lack(
    saved: Any, counts: int, done: int, params: Mapping[str, nn.Parameter]
) -> str | None:
    """Why saved gradients cannot be used; None if they can."""
    if saved is None:
        return 'the checkpoint holds no gradients of them'
    if not isinstance(saved, Mapping) or not _is_whole(saved):
        return 'what the checkpoint holds of them is no gradients'
    if (saved['counts'], saved['done']) != (counts, done):
        return (
            f'the checkpoint holds the gradients of {saved["done"]} of '
            f'{saved["counts"]} iterations'
        )
    if len(saved['gradients']) != get_world_size():
        return (
            f'the checkpoint holds the gradients of {len(saved["gradients"])} '
            f'processes for {get_world_size()}'
        )
    for name, grad in saved['gradients'][get_rank()].items():
        if name not in params or params[name].shape != grad.shape:
            return f'the checkpoint holds a gradient of another model ({name!r})'
    return None


def _is_whole(saved: Mapping) -> bool:
    kinds = {'counts': int, 'done': int, 'weight': float, 'gradients': list}
    return (
        all(isinstance(saved.get(name), kind) for name, kind in kinds.items())
        and saved['weight'] > 0
        and all(
            isinstance(own, Mapping)
            and all(isinstance(g, Tensor) for g in own.values())
            for own in saved['gradients']
        )
    )
