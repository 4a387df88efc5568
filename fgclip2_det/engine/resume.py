"""Check that a config continues the training of a checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fgclip2_det.io.text import json_values

from .schedules import stretch_schedule, train_length
from .work_dir import PATHS, differences, parse_config_text, short, without

# how data is loaded, not which; another total batch size gets a warning
_LOADING = {
    'num_workers', 'persistent_workers', 'pin_memory', 'prefetch_factor', 'timeout',
    'multiprocessing_context', 'batch_size',
}  # fmt: skip
_EVALUATION = {'val_interval', 'val_begin', 'dynamic_intervals'}
# other hooks do not change the training
_TAKING_PART = {
    'EMAHook', 'MeanTeacherHook', 'PipelineSwitchHook', 'YOLOXModeSwitchHook',
    'SyncBuffersHook', 'WhitenedPatchesHook',
}  # fmt: skip
_SCHEDULE = ('train_cfg', 'param_scheduler', 'optim_wrapper')


def training_parts(cfg: Mapping) -> dict:
    """The parts of a config that determine the trained weights, as JSON values.

    Model, training data, schedule, optimizer and the hooks known to change a training;
    not validation, logging, workers and paths of pretrained weights.
    """
    data = without(cfg.get('train_dataloader') or {}, _LOADING)
    hooks = {}
    for hook in cfg.get('custom_hooks') or ():
        kind = str(hook.get('type')).split('.')[-1]
        if kind in _TAKING_PART:
            hooks[kind] = hook
    scale = cfg.get('auto_scale_lr') or {}
    parts = {
        'model': without(cfg.get('model'), PATHS),
        'train_dataloader': data,
        'train_cfg': without(cfg.get('train_cfg') or {}, _EVALUATION),
        'param_scheduler': cfg.get('param_scheduler') or [],
        'optim_wrapper': cfg.get('optim_wrapper'),
        'auto_scale_lr': scale if scale.get('enable') else None,
        'custom_hooks': hooks,
    }
    return json_values(parts, default=str)


def check_resume(
    cfg: Mapping, checkpoint: Mapping, path: Path, with_changes: bool = False
) -> tuple[bool, list[str]]:
    """Compare a config with the one that a checkpoint was trained with.

    A different length is allowed: the checkpoint's schedule is rescaled first.

    Args:
        cfg: resolved config.
        checkpoint: checkpoint of a training, with its config in ``meta['cfg']``.
        path: path of the checkpoint, for messages.
        with_changes: accept differences.

    Returns:
        Whether the schedule differs from the checkpoint's, and one message for each
        accepted difference.

    Raises:
        ValueError: for a difference, unless ``with_changes``; names the first one.
    """
    text = checkpoint.get('meta', {}).get('cfg')
    if not text:
        return False, []
    theirs = parse_config_text(text)
    mine, before = training_parts(cfg), training_parts(theirs)
    changed = any(mine[name] != before[name] for name in _SCHEDULE)
    old, new = train_length(theirs), train_length(cfg)
    if old and new and old[0] == new[0] and new[1] > old[1]:
        theirs = copy.deepcopy(theirs)
        theirs['train_cfg'][new[0]] = new[1]
        stretch_schedule(theirs, old)
        before = training_parts(theirs)
    changes = [
        f'{key} is {short(here)} here but {short(there)} there'
        for key, here, there in differences(mine, before)
    ]
    if changes and not with_changes:
        more = f' (and {len(changes) - 1} more)' if len(changes) > 1 else ''
        raise ValueError(
            f'{path} was trained with other data, schedule or model: {changes[0]}'
            f"{more}; use that run's config and options, or pass "
            '--resume-with-changes'
        )
    return changed, changes


def compare_data(here: Mapping[str, Any], there: Mapping[str, Any]) -> str | None:
    """Describe how the training data of two runs differ; None if they are equal.

    Args:
        here, there: results of :func:`~fgclip2_det.engine.train_data.describe_data`.
    """
    if here.get('num_samples') != there.get('num_samples'):
        return (
            f'{here.get("num_samples")} samples here, {there.get("num_samples")} there'
        )
    if here.get('digest') != there.get('digest'):
        return 'its files have other content'
    # absent from checkpoints of earlier versions
    mine, before = (data.get('num_shares') or [] for data in (here, there))
    for own, theirs in zip(mine, before, strict=False):
        if own != theirs:
            return (
                f'its shards are {_shares(own)} here, {_shares(theirs)} there, which '
                'orders samples differently (take as many processes as before)'
            )
    return None


def _shares(num_shares: int | None) -> str:
    if num_shares is None:
        return 'read by all processes'
    return f'dealt to {num_shares} processes'
