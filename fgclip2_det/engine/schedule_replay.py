"""Replay of a changed learning rate schedule up to the resumed iteration."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

from mmengine.optim import OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop, Runner


def initial_settings(runner: Runner) -> list[dict[str, Any]]:
    """Settings of all parameter groups by the config, before a checkpoint is loaded."""
    return [
        {key: value for key, value in group.items() if key != 'params'}
        for group in _groups(runner)
    ]


def replay_schedule(runner: Runner, settings: list[dict[str, Any]]) -> None:
    """Replace the checkpoint's schedule by the config's, at the resumed iteration.

    MMEngine's schedulers restore their old end from a checkpoint and compute each
    learning rate from the previous one. They are therefore rebuilt with the config's
    initial rates and stepped up to the current iteration.

    Args:
        runner: resumed; its parameter groups and schedulers are changed.
        settings: result of :func:`initial_settings`.

    Raises:
        ValueError: for a scheduler that depends on earlier metrics.
    """
    for group, own in zip(_groups(runner), settings, strict=True):
        group.update(own)
        for key in [key for key in group if key.startswith('initial_')]:
            group[key.removeprefix('initial_')] = group[key]
    if runner.param_schedulers is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)  # steps without optimizer steps
        runner.param_schedulers = _build(runner)
        for is_epoch in _steps(runner):
            for scheduler in _schedulers(runner):
                if scheduler.by_epoch == is_epoch:
                    scheduler.step()


def _build(runner: Runner) -> Any:
    """Schedulers of the config, built by the runner or its strategy."""
    cfg = runner.cfg.param_scheduler
    if hasattr(runner, 'build_param_scheduler'):
        schedulers = runner.build_param_scheduler(cfg)
    else:
        loop, strategy = runner.train_loop, runner.strategy
        schedulers = strategy.build_param_scheduler(
            cfg,
            strategy.optim_wrapper,
            dict(
                epoch_length=len(loop.dataloader),
                max_epochs=loop.max_epochs,
                max_iters=loop.max_iters,
            ),
        )
        strategy.param_schedulers = schedulers
    return schedulers


def _steps(runner: Runner) -> Iterator[bool]:
    """Past steps from the first: True ends an epoch, False an iteration."""
    loop = runner.train_loop
    if not isinstance(loop, EpochBasedTrainLoop):
        yield from [False] * runner.iter  # epochs end no schedule there
        return
    length = len(loop.dataloader)
    for _ in range(runner.epoch):
        yield from [False] * length
        yield True
    rest = runner.iter - runner.epoch * length
    yield from [False] * (rest if 0 < rest < length else 0)


def _schedulers(runner: Runner) -> list:
    schedulers = runner.param_schedulers
    if isinstance(schedulers, dict):
        schedulers = [scheduler for each in schedulers.values() for scheduler in each]
    for scheduler in schedulers:
        if getattr(scheduler, 'need_val_args', False):
            raise ValueError(
                f'{type(scheduler).__name__} depends on earlier metrics, which are not '
                'known for a changed schedule; start a new training with load_from'
            )
    return schedulers


def _groups(runner: Runner) -> Iterator[dict]:
    wrapper = runner.optim_wrapper
    several = isinstance(wrapper, OptimWrapperDict)
    for each in wrapper.values() if several else [wrapper]:
        yield from each.param_groups
