"""Prepare a config for training or testing, without writing anything."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

from fgclip2_det.models.checkpoints import read_checkpoint

from .data_files import check_data_files
from .first_process import is_first_process, print_once
from .resume import check_resume
from .saved_checkpoints import check_out_folders, newest_saved
from .work_dir import (
    check_checkpoint,
    check_not_trained,
    check_start_is_kept,
    check_work_dir,
    last_checkpoint,
)


def prepare_training(
    cfg: Config,
    resume: str | None = None,
    amp: bool = False,
    auto_scale_lr: bool = False,
    seed: int | None = None,
    with_changes: bool = False,
    record: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Prepare a config for training: resume, AMP, seed, work dir. Writes nothing.

    Args:
        cfg: from :func:`load_config`; changed in place.
        resume: a checkpoint, ``'auto'`` for the last one in the work dir, None for a
            new training. A checkpoint replaces the config's ``load_from``; where there
            is none yet, training starts from ``load_from``.
        amp: automatic mixed precision, bfloat16 unless the config sets another dtype
            (FG-CLIP 2 overflows in float16).
        auto_scale_lr: scale the learning rate with the total batch size.
        seed: random seed; the config's (0 by default) when None.
        with_changes: resume even if data, schedule or model have changed.
        record: record of the run's options, for later runs that resume it.
        overwrite: let a new training replace an earlier one in the work dir.

    Raises:
        FileNotFoundError: if the checkpoint to resume does not exist.
        ValueError: if the work dir belongs to another config or holds a training that
            is neither resumed nor overwritten, checkpoints would be saved beside
            another training's, those to be removed are what it starts from, annotation
            files or images are missing (:func:`.check_data_files`), the checkpoint is
            damaged, without optimizer state, from another seed or another training, or
            an option does not fit.
    """
    if seed is not None:
        cfg.randomness.seed = seed
    if amp:
        _enable_amp(cfg)
    if auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise ValueError(
                '--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in '
                'the config'
            )
        cfg.auto_scale_lr.enable = True

    if overwrite and resume is not None:
        raise ValueError('--overwrite starts anew and --resume goes on; give one')
    named = resume or (cfg.get('load_from') if cfg.get('resume') else None)
    check_out_folders(cfg.work_dir, cfg, None if named == 'auto' else named)
    if overwrite:
        check_start_is_kept(cfg)
    if not overwrite and (resume is None or not with_changes):
        check_work_dir(cfg)
    if not overwrite and resume is None and not cfg.get('resume'):
        check_not_trained(cfg)
    [hook] = [h for h in cfg.custom_hooks if h['type'].endswith('RunRecordHook')]
    hook.update(record=record, with_changes=with_changes, overwrite=overwrite)
    if resume is not None:
        path = _last_whole(cfg) if resume == 'auto' else Path(resume)
        cfg.resume = path is not None
        if path is None:
            weights = cfg.get('load_from')
            start = f' from the weights of {weights}' if weights else ''
            print_once(
                f'nothing to resume in {cfg.work_dir}: training starts at epoch 0'
                f'{start}'
            )
        else:
            cfg.load_from = str(path)
            if not path.is_dir():  # DeepSpeed reads its own folders
                hook.changed_schedule = _check_resumed(cfg, path, seed, with_changes)
    for note in check_data_files(cfg) if is_first_process() else ():
        print(note)


def _last_whole(cfg: Config) -> Path | None:
    """The last checkpoint, or an earlier one where that was cut short."""
    path = last_checkpoint(cfg.work_dir, cfg)
    if path is None or path.is_dir():
        return path
    try:
        read_checkpoint(path)
    except ValueError as error:
        earlier = newest_saved(cfg.work_dir, cfg)
        if earlier is None:
            raise
        named = str(earlier) in str(error)
        print_once(f'{error}: resuming from {"that one" if named else earlier}')
        return earlier
    return path


def _check_resumed(
    cfg: Config, path: Path, seed: int | None, with_changes: bool
) -> bool:
    """Whether the schedule differs from the checkpoint's; sets the seed to its seed."""
    checkpoint = read_checkpoint(path)
    if not with_changes:
        check_checkpoint(cfg, checkpoint, path)
    _take_seed(cfg, checkpoint, path, seed)
    _check_state(cfg, checkpoint, path)
    changed, lines = check_resume(cfg, checkpoint, path, with_changes)
    for line in lines:
        print_once(f'resumed with a change: {line}')
    return changed


def _check_state(cfg: Config, checkpoint: Mapping, path: Path) -> None:
    """Check that a checkpoint holds what a training goes on with, besides weights."""
    needed = {'optimizer': cfg.get('optim_wrapper')}
    needed['param_schedulers'] = cfg.get('param_scheduler')
    for name in (n for n, own in needed.items() if own and not checkpoint.get(n)):
        raise ValueError(
            f'{path} holds no state of the {name.replace("_", " ")}, so its training '
            'cannot go on where it stopped; start one from its weights in another '
            f'--work-dir with --cfg-options load_from={path}'
        )


def prepare_test(
    cfg: Config, checkpoint: str | None, show_dir: str | None = None
) -> Mapping[str, Tensor] | None:
    """Prepare a config for testing: checkpoint and folder of drawn images.

    Args:
        cfg: from :func:`load_config`; changed in place.
        checkpoint: file to load, of MMEngine or a bare state_dict; None for a
            re-scorer, whose config names all weights, or a config with ``load_from``.
        show_dir: folder for the drawn images; if given, every image is drawn.

    Returns:
        The checkpoint's weights, for ``check_weights``; None without a checkpoint.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ValueError: if it cannot be read, or if the model needs one and none is given.
    """
    for key in ('runner_type', 'strategy'):  # a test needs no shards
        cfg.pop(key, None)
    checkpoint = checkpoint or cfg.get('load_from')
    weights = None
    if checkpoint:
        loaded = read_checkpoint(checkpoint)
        weights = loaded.get('state_dict', loaded)
        cfg.load_from = checkpoint
    elif cfg.model.type != 'FGCLIP2Rescorer' or not _has_own_weights(cfg.model):
        raise ValueError(
            'a checkpoint is needed: tools/test.py CONFIG CHECKPOINT; only a re-scorer '
            'whose config names the weights of its detector works without'
        )
    if show_dir is not None:
        for hook in cfg.custom_hooks:
            if str(hook['type']).endswith('OpenVocabVisualizationHook'):
                hook.update(num_images=-1, out_dir=show_dir)
    return weights


def _has_own_weights(rescorer: Mapping[str, Any]) -> bool:
    detector = rescorer['detector']
    own = isinstance(detector, Mapping) and detector.get('type')
    complete = own in ('HuggingFaceDetector', 'SavedPredictions')
    return bool(rescorer.get('checkpoint')) or complete


def _enable_amp(cfg: Config) -> None:
    if not torch.cuda.is_available():
        raise ValueError('--amp needs a GPU and PyTorch sees none; leave it out')
    if cfg.optim_wrapper.get('type') == 'DeepSpeedOptimWrapper':
        raise ValueError('--amp is not for DeepSpeed; use strategy.bf16 in the config')
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.loss_scale = 'dynamic'
    cfg.optim_wrapper.setdefault('dtype', 'bfloat16')


def _take_seed(cfg: Config, checkpoint: Mapping, path: Path, seed: int | None) -> None:
    """Set the seed to the one that the checkpoint was trained with."""
    saved = checkpoint.get('meta', {}).get('seed')
    if saved is None:
        raise ValueError(
            f'{path} holds no training state to resume; start from its weights with '
            f'--cfg-options load_from={path}'
        )
    if seed is not None and seed != saved:
        raise ValueError(
            f'{path} was trained with seed {saved}, not {seed}; leave --seed out'
        )
    cfg.randomness.seed = saved
