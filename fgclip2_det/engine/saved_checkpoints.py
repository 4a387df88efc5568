"""Where the hooks of a training save its checkpoints, and under which names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fgclip2_det.models.checkpoints import newest_of

# of MMEngine's CheckpointHook without options; best_*: of save_best
_USUAL = re.compile(r'(epoch|iter|best)_.*\.pth', re.DOTALL)


def checkpoint_folders(work_dir: Path | str, cfg: Mapping | None) -> list[Path]:
    """Local folders that a training saves checkpoints in, the work dir first.

    With ``out_dir``, MMEngine's ``CheckpointHook`` takes the folder in it that is named
    like the work dir.

    Args:
        work_dir: of the training.
        cfg: its config; None for one whose hooks have no options.
    """
    whole = os.path.abspath(work_dir)
    folders = [Path(work_dir)]
    for hook in _hooks(cfg):
        out_dir = hook.get('out_dir')
        if out_dir is None or '://' in str(out_dir) or str(out_dir) == whole:
            continue
        folders.append(Path(out_dir) / os.path.basename(whole))
    return list(dict.fromkeys(folders))


def saved_checkpoints(work_dir: Path | str, cfg: Mapping | None = None) -> list[Path]:
    """Checkpoints that a training has saved, the newest last; files, or DeepSpeed's
    folders.

    Args:
        work_dir, cfg: as for :func:`checkpoint_folders`.
    """
    names = [_USUAL, *map(_pattern, _templates(cfg))]
    paths = [
        path
        for folder in checkpoint_folders(work_dir, cfg)
        if folder.is_dir()
        for path in folder.iterdir()
        if any(name.fullmatch(path.name) for name in names)
    ]
    return sorted(paths, key=lambda path: path.stat().st_mtime)


def newest_saved(work_dir: Path | str, cfg: Mapping | None = None) -> Path | None:
    """The newest checkpoint of a training that can be resumed, or None."""
    paths = {*Path(work_dir).glob('*.pth'), *saved_checkpoints(work_dir, cfg)}
    return newest_of(paths)


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


def _templates(cfg: Mapping | None) -> Iterator[str]:
    return (t for hook in _hooks(cfg) if (t := hook.get('filename_tmpl')))


def _pattern(template: str) -> re.Pattern[str]:
    """Names that a ``filename_tmpl`` makes: of a step, the best, a published one."""
    stem, ending = (
        r'\d+'.join(map(re.escape, re.split(r'\{[^}]*\}', part)))
        for part in os.path.splitext(template)
    )
    return re.compile(rf'(best_.+_)?{stem}(-[0-9a-f]{{8}})?{ending}')
