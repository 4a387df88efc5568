"""From a config file and command line options to a Runner that is safe to start."""

import difflib
import gc
import inspect
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import RUNNERS
from mmengine.config import Config
from mmengine.runner import Runner
from torch import Tensor

from fgclip2_det.models.checkpoints import read_checkpoint

from .data_files import check_data_files
from .hooks.metrics_json_hook import METRICS_FILE
from .merging import merge_options
from .resume import check_resume
from .work_dir import (
    check_checkpoint,
    check_work_dir,
    last_checkpoint,
)

HOOKS = (
    'OpenVocabLabelOrderHook',
    'OpenVocabRunRecordHook',
    'OpenVocabReproducibleHook',
    'OpenVocabMetricsJsonHook',
    'OpenVocabVisualizationHook',
    'OpenVocabPictureSizeHook',
)


def load_config(
    path: Path | str,
    options: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    work_dir: str | None = None,
    launcher: str = 'none',
) -> Config:
    """A config with command line options merged in, a work dir and this package's
    hooks.

    Several sets of options, of a run and of those that resumed it, are merged one
    after the other. The hooks join ``custom_hooks`` unless the config has them, and a
    plain ``CheckpointHook`` becomes the one that survives a kill.

    Raises:
        FileNotFoundError: if there is no such config.
        ValueError: if the config cannot be parsed, or an option names a key that it
            does not know.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'there is no config {path}')
    try:
        cfg = read_config(path)
    except SyntaxError as error:
        raise ValueError(f'{path} is no Python config: {error}') from error
    for each in [options or {}] if isinstance(options or {}, Mapping) else options:
        check_options(cfg, each)
        for line in merge_options(cfg, each):
            print_once(line)
    cfg.launcher = launcher
    cfg.work_dir = work_dir or cfg.get('work_dir') or f'work_dirs/{Path(path).stem}'
    cfg.randomness = {'seed': 0, **cfg.get('randomness', {})}

    hooks = list(cfg.get('custom_hooks') or [])
    present = {str(hook['type']).split('.')[-1] for hook in hooks}
    hooks += [{'type': f'mmdet.{name}'} for name in HOOKS if name not in present]
    cfg.custom_hooks = hooks
    checkpoint = cfg.get('default_hooks', {}).get('checkpoint') or {}
    if checkpoint.get('type') == 'CheckpointHook':
        checkpoint.type = 'mmdet.OpenVocabCheckpointHook'
    return cfg


def work_dir_of(path: Path | str, work_dir: str | None = None) -> str:
    """Where :func:`load_config` will have a run's files."""
    if work_dir is None and Path(path).is_file():
        work_dir = read_config(path).get('work_dir')
    return work_dir or f'work_dirs/{Path(path).stem}'


def read_config(path: Path | str) -> Config:
    """A config file; whatever is wrong with it is told with its name.

    Raises:
        ValueError: if it cannot be read, or is no config of a run.
    """
    try:
        cfg = Config.fromfile(path)
    except Exception as error:  # a config is code, and may raise anything
        raise ValueError(
            f'{path} cannot be read as a config ({type(error).__name__}: {error})'
        ) from error
    if 'model' not in cfg:
        raise ValueError(f'{path} is no config of a run: it has no model')
    hooks = cfg.get('custom_hooks') or []
    if not isinstance(hooks, list) or not all(isinstance(h, Mapping) for h in hooks):
        raise ValueError(f'{path}: custom_hooks must be a list of dicts, got {hooks!r}')
    return cfg


def check_options(cfg: Config, options: Mapping[str, Any]) -> None:
    """Find misspelt ``--cfg-options``, which MMEngine would add as new keys.

    A new key is fine inside a part that exists, unless it looks like a present one.

    Raises:
        ValueError: naming the key and what it may have meant.
    """
    runner = set(inspect.signature(Runner.__init__).parameters)
    for option in options:
        part: Any = cfg
        for depth, key in enumerate(option.split('.')):
            if not isinstance(part, Mapping | Config) or key in part:
                known = isinstance(part, Mapping | Config)
                part = part[key] if known else _item(part, key)
                continue
            known = set(part) | (runner if depth == 0 else set())
            close = difflib.get_close_matches(key, known, 1, 0.6 if depth == 0 else 0.8)
            if key not in known and (depth == 0 or close):
                hint = f'; did you mean {close[0]!r}?' if close else ''
                raise ValueError(
                    f'--cfg-options {option}: the config has no {key!r}{hint}'
                )
            break


def _item(part: Any, key: str) -> Any:
    """An element of a list by its number in a dotted key; None elsewhere."""
    fits = isinstance(part, list) and key.isdigit() and int(key) < len(part)
    return part[int(key)] if fits else None


def prepare_training(
    cfg: Config,
    resume: str | None = None,
    amp: bool = False,
    auto_scale_lr: bool = False,
    seed: int | None = None,
    with_changes: bool = False,
    record: Mapping[str, Any] | None = None,
) -> None:
    """Settle how a training starts; nothing is written before it does.

    Args:
        cfg: from :func:`load_config`; changed in place.
        resume: a checkpoint, ``'auto'`` for the work dir's last one, None to start.
        amp: automatic mixed precision, bfloat16 unless the config says otherwise
            (FG-CLIP 2 overflows in float16).
        auto_scale_lr: scale the learning rate with the total batch size.
        seed: of all randomness; the config's (0 by default) when None.
        with_changes: resume although data, schedule or model are others.
        record: what the run is started with, for the one that resumes it.

    Raises:
        FileNotFoundError: if the checkpoint to resume is not there.
        ValueError: if the work dir belongs to another config, annotation files or
            pictures are missing (:func:`.check_data_files`), the checkpoint is
            damaged, from another seed or another training, or an option does not
            fit. Nothing has been written then.
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

    if resume is None or not with_changes:
        check_work_dir(cfg)
    for note in check_data_files(cfg) if is_first_process() else ():
        print(note)
    [hook] = [h for h in cfg.custom_hooks if h['type'].endswith('RunRecordHook')]
    hook.update(record=record, with_changes=with_changes)
    if resume is not None:
        path = last_checkpoint(cfg.work_dir) if resume == 'auto' else Path(resume)
        cfg.resume, cfg.load_from = path is not None, path and str(path)
        if path is None:
            print_once(
                f'nothing to resume in {cfg.work_dir}: training starts at epoch 0'
            )
        elif not path.is_dir():  # DeepSpeed's folder is DeepSpeed's to read
            hook.changed_schedule = _check_resumed(cfg, path, seed, with_changes)


def _check_resumed(
    cfg: Config, path: Path, seed: int | None, with_changes: bool
) -> bool:
    """Whether the schedule is another than the checkpoint's; its seed is taken."""
    checkpoint = read_checkpoint(path)
    if not with_changes:
        check_checkpoint(cfg, checkpoint, path)
    _take_seed(cfg, checkpoint, path, seed)
    changed, lines = check_resume(cfg, checkpoint, path, with_changes)
    for line in lines:
        print_once(f'resumed with a change: {line}')
    return changed


def prepare_test(
    cfg: Config, checkpoint: str | None, show_dir: str | None = None
) -> Mapping[str, Tensor] | None:
    """Settle what is tested and where its pictures go.

    Args:
        cfg: from :func:`load_config`; changed in place.
        checkpoint: file to load, of MMEngine or a bare state_dict; None for a
            re-scorer, whose config names all weights, or one with ``load_from``.
        show_dir: folder for a picture of every image.

    Returns:
        The checkpoint's weights, for ``check_weights``; None without one.

    Raises:
        FileNotFoundError: if there is no such checkpoint.
        ValueError: if it cannot be read, or a model that was trained has none.
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
            'whose config names the weights of its detector does without'
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


def build_runner(cfg: Config) -> Runner:
    """MMEngine's Runner, or the one that ``runner_type`` names.

    Several processes without a GPU talk through gloo, which MMEngine by itself
    would not choose.
    """
    if cfg.get('launcher') == 'pytorch' and not torch.cuda.is_available():
        if not torch.distributed.is_initialized():
            torch.distributed.init_process_group('gloo')
        cfg.model_wrapper_cfg = {
            'type': 'MMDistributedDataParallel',
            'broadcast_buffers': False,
            'find_unused_parameters': cfg.get('find_unused_parameters', False),
            **(cfg.get('model_wrapper_cfg') or {}),
            'device_ids': None,
        }
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    built = isinstance(runner.model, torch.nn.Module)  # FlexibleRunner's is a config
    if built and cfg.get('load_from') and not cfg.get('resume'):
        loaded = read_checkpoint(cfg.load_from)
        names = {name.removeprefix('module.') for name in runner.model.state_dict()}
        if not names & set(loaded.get('state_dict', loaded)):
            raise ValueError(
                f'load_from {cfg.load_from} has no weight that the model has; use a '
                'checkpoint of this or a similar config'
            )
    return runner


def leave_process_group() -> None:
    """End the threads of ``torch.distributed``, once every process has come here.

    Models in shards keep their group, and with it its threads, beyond
    ``destroy_process_group``. One that then frees a tensor while the interpreter ends
    aborts the process, which has done all its work.
    """
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        gc.collect()  # such models hold themselves
        distributed.destroy_process_group()


def report(work_dir: str, picture_dir: str | None = None) -> None:
    """Print the metrics of a finished run, and where its files are (rank 0 only)."""
    metrics = Path(work_dir) / METRICS_FILE
    if not is_first_process() or not metrics.is_file():
        return
    print(f'\n{metrics_table(json.loads(metrics.read_text(encoding="utf-8")))}')
    print(f'\nmetrics:  {metrics}')
    sheet = Path(picture_dir or work_dir) / 'detections.png'
    if sheet.is_file():
        print(f'pictures: {sheet} and {sheet.parent / "vis"}')


def is_first_process() -> bool:
    """Whether this is rank 0, known before ``torch.distributed`` starts."""
    names = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')
    return all(os.environ.get(name, '0') == '0' for name in names)


def print_once(line: str) -> None:
    """Print from the first process alone."""
    if is_first_process():
        print(line)


def metrics_table(metrics: Mapping[str, float | None]) -> str:
    """Metrics as two aligned columns, one line each."""
    width = max(map(len, metrics), default=0)
    lines = [
        f'{name:<{width}}  ' + ('    -' if value is None else f'{value:.4f}')
        for name, value in metrics.items()
    ]
    return '\n'.join(lines)


def _enable_amp(cfg: Config) -> None:
    if not torch.cuda.is_available():
        raise ValueError('--amp needs a GPU and PyTorch sees none; leave it out')
    if cfg.optim_wrapper.get('type') == 'DeepSpeedOptimWrapper':
        raise ValueError('--amp is not for DeepSpeed; use strategy.bf16 in the config')
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.loss_scale = 'dynamic'
    cfg.optim_wrapper.setdefault('dtype', 'bfloat16')


def _take_seed(cfg: Config, checkpoint: Mapping, path: Path, seed: int | None) -> None:
    """Go on with the seed that the checkpoint was trained with."""
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
