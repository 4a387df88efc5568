"""Check that a work dir and its checkpoints belong to the config."""

import ast
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any, cast

from mmengine.config import Config

from fgclip2_det.io.atomic import write_atomic
from fgclip2_det.io.text import json_values, read_json
from fgclip2_det.models.checkpoints import read_checkpoint

from .saved_checkpoints import (
    checkpoint_folders,
    named_last,
    newest_saved,
    saved_checkpoints,
)

FINGERPRINT_FILE = 'config_fingerprint.json'
# source of weights, post-processing, memory options: these do not change the model
PATHS = {
    'init_cfg', 'checkpoint', 'pretrained', 'cache_dir', 'test_cfg', 'with_cp',
    'micro_batch_size', 'gradient_checkpointing',
}  # fmt: skip
_LABEL_KEYS = {
    'type', 'metainfo', 'dataset', 'datasets', 'split', 'vocabulary', 'language',
    'base_classes', 'novel_classes', 'class_split', 'only_base',
}  # fmt: skip


def config_fingerprint(cfg: Mapping) -> dict:
    """The parts of a config that define the model and its label space, as JSON values.

    ``model``, ``custom_imports``, and the types and metainfo of the training data; not
    schedule, logging, paths and pretrained weights.
    """
    data = cfg.get('train_dataloader') or {}
    parts = {
        'model': without(cfg.get('model'), PATHS),
        'custom_imports': _packages(cfg.get('custom_imports')),
        'dataset': _only(data.get('dataset'), _LABEL_KEYS),
    }
    return json_values(parts, default=str)


def _packages(custom_imports: object) -> object:
    """Treat a package and its module ``registration`` as the same import."""
    if not isinstance(custom_imports, Mapping):
        return custom_imports
    imports = custom_imports.get('imports')
    names = [imports] if isinstance(imports, str) else list(imports or ())
    names = [name.removesuffix('.registration') for name in names]
    return {**custom_imports, 'imports': names}


def last_checkpoint(work_dir: Path | str, cfg: Mapping | None = None) -> Path | None:
    """Checkpoint for ``--resume``; None if there is none.

    It is the file named in ``last_checkpoint``, first looked up in the folders of the
    training (:func:`.checkpoint_folders`); the work dir may have moved.

    Args:
        work_dir: of the training.
        cfg: its config, whose hooks may save checkpoints elsewhere or under other
            names; None for the hooks' defaults.

    Raises:
        ValueError: if the file that is named does not exist.
    """
    pointer = Path(work_dir) / 'last_checkpoint'
    name = named_last(work_dir)
    if not name:
        return newest_saved(work_dir, cfg)
    folders = checkpoint_folders(work_dir, cfg)
    for path in (*(folder / Path(name).name for folder in folders), Path(name)):
        if os.path.exists(path):  # DeepSpeed's are folders
            return path
    newest = newest_saved(work_dir, cfg)
    remedy = f'--resume {newest}' if newest else 'start in another --work-dir'
    raise ValueError(
        f'{pointer} names {name[:80]!r}, which does not exist; delete it, or {remedy}'
    )


def check_work_dir(cfg: Config) -> None:
    """Check that the checkpoints in a work dir are of this model; writes nothing.

    Args:
        cfg: resolved config with ``work_dir``.

    Raises:
        ValueError: naming the first part that differs, with both values.
    """
    work_dir = Path(cfg.work_dir)
    stored = work_dir / FINGERPRINT_FILE
    path = last_checkpoint(work_dir, cfg)
    if path is not None and stored.is_file():
        _compare(cfg, _read_json(stored), work_dir)
    elif path is not None and path.is_file():
        check_checkpoint(cfg, read_checkpoint(path), path)


def check_checkpoint(cfg: Config, checkpoint: Mapping, path: Path) -> None:
    """Check that the config in a checkpoint, if it has one, is of this model.

    Raises:
        ValueError: naming the first part that differs, with both values.
    """
    text = checkpoint.get('meta', {}).get('cfg')
    if text:
        _compare(cfg, config_fingerprint(parse_config_text(text)), path)


def check_not_trained(cfg: Config) -> None:
    """Check that no training would lose its checkpoints to one that starts anew.

    Args:
        cfg: resolved config with ``work_dir``.

    Raises:
        ValueError: naming the newest of the checkpoints and what can be done.
    """
    last = next(reversed(saved_checkpoints(cfg.work_dir, cfg)), None)
    if last is None and (Path(cfg.work_dir) / 'last_checkpoint').is_file():
        last = last_checkpoint(cfg.work_dir, cfg)
    if last is None:
        return
    place = '' if last.parent == Path(cfg.work_dir) else f' in {last.parent}'
    raise ValueError(
        f'{cfg.work_dir} holds the checkpoints of an earlier training '
        f'({last.name}{place}); continue it with --resume, replace it with '
        '--overwrite, or choose another --work-dir'
    )


def check_start_is_kept(cfg: Config) -> None:
    """Check that ``--overwrite`` removes no file that the config names, as weights to
    start from.

    Args:
        cfg: resolved config with ``work_dir``.

    Raises:
        ValueError: naming the key and the file.
    """
    removed = {os.path.realpath(path) for path in _to_remove(cfg.work_dir, cfg)}
    for key, text in _texts(cfg.to_dict()) if removed else ():
        path = Path(os.path.realpath(text.replace('\0', '?')))
        if any(str(part) in removed for part in (path, *path.parents)):
            raise ValueError(
                f'--overwrite would remove {text}, which {key} of the config names; '
                'move it and name its new place, or choose another --work-dir'
            )


def _texts(value: Any, key: str = '') -> Iterator[tuple[str, str]]:
    """(dotted key, text) of all texts in nested dicts and lists."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping | list | tuple):
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for name, item in pairs:
            yield from _texts(item, f'{key}.{name}' if key else str(name))


def remove_run(work_dir: Path | str, cfg: Mapping | None = None) -> None:
    """Remove checkpoints and metrics of an earlier training, so that nothing takes them
    for those of the next one.

    Args:
        work_dir: of both trainings.
        cfg: config of the next one; checkpoints are looked for where it saves its own,
            in :func:`.checkpoint_folders`.
    """
    for path in _to_remove(work_dir, cfg):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for name in ('last_checkpoint', 'metrics.json'):
        (Path(work_dir) / name).unlink(missing_ok=True)


def _to_remove(work_dir: Path | str, cfg: Mapping | None) -> list[Path]:
    """The checkpoints of a training; last the one that proves the others its own."""
    last = Path(named_last(work_dir))
    paths = saved_checkpoints(work_dir, cfg)
    folders = {os.path.realpath(path) for path in checkpoint_folders(work_dir, cfg)}
    if os.path.isfile(last) and os.path.realpath(last.parent) in folders:
        paths.append(last)
    name = last.name
    return sorted(paths, key=lambda path: path.name == name)


def write_fingerprint(cfg: Config) -> None:
    """Write the fingerprint of the config into its work dir."""
    text = json.dumps(config_fingerprint(cfg), indent=1, ensure_ascii=False)
    write_atomic(Path(cfg.work_dir) / FINGERPRINT_FILE, text.encode())


def parse_config_text(text: str) -> dict:
    """Parse a dumped config, ``name = dict(...)`` lines of literals, never executed.

    Raises:
        ValueError: if it contains anything but literals.
    """
    return {
        node.targets[0].id: _literal(node.value)
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


def _literal(node: ast.expr | None) -> Any:
    if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'dict':
        odd = [_literal(arg) for arg in node.args]  # dict({'no-name': 1})
        named = {word.arg: _literal(word.value) for word in node.keywords}
        return {**(odd[0] if odd else {}), **named}
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return [_literal(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        keys = map(_literal, node.keys)
        return dict(zip(keys, map(_literal, node.values), strict=True))
    if isinstance(node, ast.Name) and node.id in ('inf', 'nan'):
        return float(node.id)
    return ast.literal_eval(cast(ast.expr, node))  # ValueError for None, a ``**``


def _read_json(path: Path) -> dict:
    content = read_json(path, remedy='delete it')
    if not isinstance(content, dict):
        raise ValueError(f'{path} must hold a JSON object; delete it')
    return content


def _compare(cfg: Config, theirs: dict, source: Path) -> None:
    difference = first_difference(config_fingerprint(cfg), theirs)
    if difference is None:
        return
    key, here, there = difference
    raise ValueError(
        f'{source} belongs to another config: {key} is {short(here)} here but '
        f'{short(there)} there; choose another --work-dir, or use its own config'
    )


def first_difference(here: Any, there: Any) -> tuple | None:
    """(dotted key, value here, value there) of the first difference, or None."""
    return next(differences(here, there), None)


def differences(here: Any, there: Any, key: str = '') -> Iterator[tuple]:
    """(dotted key, value here, value there) of all differences in nested dicts."""
    if isinstance(here, dict) and isinstance(there, dict):
        pairs = [(name, here.get(name), there.get(name)) for name in {**here, **there}]
    elif isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
        pairs = [(i, *values) for i, values in enumerate(zip(here, there, strict=True))]
    else:
        if here != there:
            yield key, here, there
        return
    for name, mine, other in pairs:
        yield from differences(mine, other, f'{key}.{name}' if key else str(name))


def short(value: Any) -> str:
    """``repr`` of a value in at most 80 characters."""
    text = 'absent' if value is None else repr(value)
    return text if len(text) <= 80 else f'{text[:77]}...'


def without(value: Any, names: Set[str]) -> Any:
    """Copy of nested dicts and lists without some keys."""
    if isinstance(value, Mapping):
        return {k: without(v, names) for k, v in value.items() if k not in names}
    if isinstance(value, list | tuple):
        return [without(item, names) for item in value]
    return value


def _only(value: Any, names: set[str]) -> Any:
    """Copy of nested datasets with only some keys; metainfo is copied in full."""
    if isinstance(value, Mapping):
        return {
            key: item if key == 'metainfo' else _only(item, names)
            for key, item in value.items()
            if key in names
        }
    return [_only(item, names) for item in value] if isinstance(value, list) else value
