"""Where the hooks of a training save its checkpoints, and under which names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fgclip2_det.io import InputError
from fgclip2_det.models.checkpoints import newest_of, sort_by_age

# of MMEngine's CheckpointHook without options; best_*: of save_best
_USUAL = re.compile(r'(epoch|iter|best)_.*\.pth', re.DOTALL)
# files of MMEngine's FSDP, of torch.distributed.checkpoint and of DeepSpeed
_SHARDS = re.compile(r'rank\d+\.pth|\.metadata|mp_rank_.*|.*(model|optim)_states\.pt')


def checkpoint_folders(work_dir: Path | str, cfg: Mapping | None) -> list[Path]:
    """Local folders that hold the checkpoints of a training, the work dir first.

    With ``out_dir``, MMEngine's ``CheckpointHook`` takes the folder in it that is named
    like the work dir; trainings in work dirs of the same name share it. It is this
    training's if the ``last_checkpoint`` of the work dir names what exists there.

    Args:
        work_dir: of the training.
        cfg: its config; None for one whose hooks have no options.
    """
    named = named_last(work_dir)
    own = {os.path.realpath(work_dir)}
    if named and os.path.exists(named):
        own.add(os.path.realpath(Path(named).parent))
    return [path for path in _places(work_dir, cfg) if os.path.realpath(path) in own]


def named_last(work_dir: Path | str) -> str:
    """What the ``last_checkpoint`` of a work dir names; '' where there is none."""
    pointer = Path(work_dir) / 'last_checkpoint'
    if not pointer.is_file():
        return ''
    return pointer.read_text(errors='replace').strip().replace('\0', '?')


def check_out_folders(
    work_dir: Path | str, cfg: Mapping | None, resumed: Path | str | None = None
) -> None:
    """Check that a training saves in no folder with checkpoints of another one.

    Args:
        work_dir, cfg: as for :func:`checkpoint_folders`.
        resumed: checkpoint that the user has named; its folder is this training's.

    Raises:
        ValueError: naming the folder and what can be done.
    """
    own = [*checkpoint_folders(work_dir, cfg)]
    own += [] if resumed is None else [Path(resumed).parent]
    real = {os.path.realpath(path) for path in own}
    for folder, patterns in _places(work_dir, cfg).items():
        found = [] if os.path.realpath(folder) in real else _found(folder, patterns)
        if found:
            raise InputError(
                f'{folder} holds checkpoints ({sort_by_age(found)[-1].name}), and no '
                f'last_checkpoint in {work_dir} names one there, so that they may be '
                "another training's; move them, choose a --work-dir of another name "
                'or another out_dir, or name the one to go on from, --resume PATH'
            )


def saved_checkpoints(work_dir: Path | str, cfg: Mapping | None = None) -> list[Path]:
    """Checkpoints that a training has saved, the newest last; files, or the folders of
    FSDP and DeepSpeed.

    Args:
        work_dir, cfg: as for :func:`checkpoint_folders`.
    """
    places = _places(work_dir, cfg)
    folders = checkpoint_folders(work_dir, cfg)
    return sort_by_age(path for f in folders for path in _found(f, places[f]))


def newest_saved(work_dir: Path | str, cfg: Mapping | None = None) -> Path | None:
    """The newest checkpoint of a training that can be resumed, or None."""
    paths = {*Path(work_dir).glob('*.pth'), *saved_checkpoints(work_dir, cfg)}
    return newest_of(paths)


def _places(
    work_dir: Path | str, cfg: Mapping | None
) -> dict[Path, list[re.Pattern[str]]]:
    """Folder -> patterns of the names that hooks save there, the work dir first."""
    whole = os.path.abspath(work_dir)
    places = {Path(work_dir): [_USUAL]}
    spellings = {os.path.realpath(whole): Path(work_dir)}
    for hook in _hooks(cfg):
        out_dir = hook.get('out_dir')
        if '://' in str(out_dir):
            continue
        folder = Path(work_dir)
        if out_dir is not None and str(out_dir) != whole:
            folder = Path(out_dir) / os.path.basename(whole)
        folder = spellings.setdefault(os.path.realpath(folder), folder)
        places.setdefault(folder, []).append(_pattern(_template(hook)))
    return places


def _found(folder: Path, patterns: list[re.Pattern[str]]) -> list[Path]:
    """The checkpoints in a folder whose names match; no other folders."""
    return [
        path
        for path in (folder.iterdir() if folder.is_dir() else ())
        if any(pattern.fullmatch(path.name) for pattern in patterns)
        and (path.is_file() or _is_sharded(path))
    ]


def _is_sharded(path: Path) -> bool:
    """Whether a folder is a checkpoint; not one that holds checkpoints, a work dir."""
    return path.is_dir() and any(_SHARDS.fullmatch(p.name) for p in path.iterdir())


def _hooks(cfg: Mapping | None) -> Iterator[Mapping[str, Any]]:
    """The configs of the hooks that save checkpoints."""
    own = cfg or {}
    hooks = [*(own.get('default_hooks') or {}).items()]
    hooks += [('', hook) for hook in own.get('custom_hooks') or ()]
    for key, hook in hooks:
        if isinstance(hook, Mapping) and (
            key == 'checkpoint' or 'CheckpointHook' in str(hook.get('type'))
        ):
            yield hook


def _template(hook: Mapping[str, Any]) -> str:
    """Its ``filename_tmpl``, or MMEngine's default for it."""
    usual = 'epoch_{}.pth' if hook.get('by_epoch', True) else 'iter_{}.pth'
    return hook.get('filename_tmpl') or usual


def _pattern(template: str) -> re.Pattern[str]:
    """Names that a ``filename_tmpl`` makes: of a step, the best, a published one."""
    stem, ending = (
        r'\d+'.join(map(re.escape, re.split(r'\{[^}]*\}', part)))
        for part in os.path.splitext(template)
    )
    return re.compile(rf'(best_.+_)?{stem}(-[0-9a-f]{{8}})?{ending}')
