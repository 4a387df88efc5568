"""Check that a training's annotation files and images exist before it starts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgclip2_det.coco.entries import image_name
from fgclip2_det.coco.masks import annotation_mask_fault, has_no_polygon
from fgclip2_det.io.json_stream import stream_json
from fgclip2_det.io.text import read_json

_LOADERS = ('train_dataloader', 'val_dataloader')
_EVALUATORS = ('val_evaluator',)
_NUM_NAMED = 3  # missing images in a message
_MASK_LOADERS = ('with_mask',)


@dataclass(frozen=True)
class DataFile:
    """One annotation file of a config, with the images it lists.

    Args:
        part: where the config names it: 'train_dataloader', 'val_evaluator', ...
        path: of the annotation file.
        folder: that its file names start from; None where images are not read.
        masks: whether its masks are given to pycocotools.
        may_lack: whether unreadable images are skipped (``on_bad_image='skip'``).
    """

    part: str
    path: Path
    folder: Path | None = None
    masks: bool = False
    may_lack: bool = False


def check_data_files(cfg: Mapping[str, Any]) -> list[str]:
    """Find wrong paths before a run starts, not after its last epoch.

    The data sets of training and validation and the evaluators of validation are
    looked through, also inside wrappers such as ``ConcatDataset``. Annotation files
    must be there; a COCO file is read once, entry by entry, and each folder of
    images is listed once. Files of another storage (``backend_args``, urls) and data
    sets that make themselves are left alone.

    Args:
        cfg: a config of MMEngine.

    Returns:
        Sentences on images that are missing where the data set may skip them.

    Raises:
        ValueError: naming the part of the config: an annotation file that is missing or
            no complete JSON, images that are missing (how many, and the first), masks
            that pycocotools cannot read.
    """
    files = list(data_files(cfg))
    for file in files:
        if not file.path.is_file():
            raise ValueError(
                f'{file.part}: there is no annotation file {file.path}; check '
                'data_root and ann_file'
            )
    notes, listed = [], _Listing()
    for file in _merged(files):
        if file.path.suffix == '.json':
            names = _read(file)
            if file.folder is not None:
                notes += _check_images(file, file.folder, names, listed)
    return notes


def data_files(cfg: Mapping[str, Any]) -> Iterator[DataFile]:
    """What a training reads, in the config's order."""
    for part in _LOADERS:
        loader = cfg.get(part)
        if isinstance(loader, Mapping):
            for dataset in _with_ann_file(loader.get('dataset')):
                yield from _of_dataset(part, dataset)
    for part in _EVALUATORS:
        for metric in _with_ann_file(cfg.get(part)):
            if _is_local(metric, metric['ann_file']):
                yield DataFile(part, Path(metric['ann_file']), masks=_has_segm(metric))


def _with_ann_file(value: Any) -> Iterator[Mapping]:
    """Dicts with an ``ann_file`` in a part of a config, at any depth."""
    if isinstance(value, Mapping):
        if isinstance(value.get('ann_file'), str) and value['ann_file']:
            yield value
        else:
            for entry in value.values():
                yield from _with_ann_file(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _with_ann_file(entry)


def _of_dataset(part: str, dataset: Mapping) -> Iterator[DataFile]:
    root = dataset.get('data_root') or ''
    path = os.path.join(root, dataset['ann_file'])
    prefix = dataset.get('data_prefix') or {}
    folder = prefix.get('img', prefix.get('img_path', ''))
    if not _is_local(dataset, path) or not isinstance(folder, str):
        return
    yield DataFile(
        part,
        Path(path),
        Path(os.path.join(root, folder)),
        _loads_masks(dataset.get('pipeline')),
        dataset.get('on_bad_image') == 'skip',
    )


def _is_local(entry: Mapping, path: str) -> bool:
    backend = (entry.get('backend_args') or {}).get('backend', 'local')
    return backend == 'local' and '://' not in path


def _loads_masks(pipeline: Any) -> bool:
    if isinstance(pipeline, Mapping):
        return any(pipeline.get(key) is True for key in _MASK_LOADERS) or _loads_masks(
            list(pipeline.values())
        )
    if isinstance(pipeline, list | tuple):
        return any(map(_loads_masks, pipeline))
    return False


def _has_segm(metric: Mapping) -> bool:
    asked = [metric.get('metric'), metric.get('iou_types')]
    return any('segm' in (given or ()) for given in asked)


def _merged(files: list[DataFile]) -> list[DataFile]:
    """One entry a file and folder; a data set and its evaluator read the same."""
    merged: dict = {}
    for file in files:
        same = [key for key in merged if key[0] == file.path]
        shared = file.folder is None and same
        key = same[0] if shared else (file.path, file.folder)
        old = merged.get(key)
        if old is None:
            merged[key] = file
        elif file.masks and not old.masks:
            merged[key] = DataFile(
                old.part, old.path, old.folder, True, old.may_lack and file.may_lack
            )
    return list(merged.values())


def _read(file: DataFile) -> list[str]:
    """Names of the images of a COCO file, whose masks are checked where needed."""
    with open(file.path, 'rb') as opened:
        if opened.read(64).lstrip().startswith(b'['):  # no COCO file
            return []
    images, names = {}, []
    waiting = []  # annotations that come before the images
    for key, is_entry, value in _pieces(file):
        if not is_entry or not isinstance(value, dict):
            continue
        if key == 'images':
            images[value.get('id')] = value
            names.append(image_name(value))
        elif key == 'annotations' and file.masks and value.get('segmentation'):
            image = images.get(value.get('image_id'))
            if image is None:
                waiting.append(value)
            else:
                _check_mask(file, value, image)
    for annotation in waiting:
        image = images.get(annotation.get('image_id'))
        if image is not None:
            _check_mask(file, annotation, image)
    return [name for name in names if name]


def _pieces(file: DataFile) -> Iterator[tuple[str, bool, Any]]:
    try:
        yield from stream_json(file.path)
    except ValueError as error:
        if not isinstance(error.__cause__, UnicodeDecodeError):
            raise ValueError(f'{file.part}: {error}') from error
        content = read_json(file.path)  # of another encoding, as the data set reads it
        if isinstance(content, dict):
            for key, entries in content.items():
                for entry in entries if isinstance(entries, list) else ():
                    yield key, True, entry


def _check_mask(file: DataFile, annotation: dict, image: dict) -> None:
    lenient = file.part == 'train_dataloader'  # LoadAnnotations alone reads them there
    if lenient and has_no_polygon(annotation.get('segmentation')):
        return
    fault = annotation_mask_fault(annotation, image)
    if fault:
        raise ValueError(
            f'{file.part}: {file.path}: annotation {annotation.get("id")}: {fault}'
        )


class _Listing:
    """Names in folders, each folder read once."""

    def __init__(self) -> None:
        self.names: dict[str, set[str]] = {}

    def has(self, path: str) -> bool:
        folder, name = os.path.split(path)
        if folder not in self.names:
            try:
                with os.scandir(folder or '.') as entries:
                    self.names[folder] = {entry.name for entry in entries}
            except OSError:
                self.names[folder] = set()
        return name in self.names[folder]


def _check_images(
    file: DataFile, folder: Path, names: list[str], listed: _Listing
) -> list[str]:
    paths = [os.path.join(folder, name) for name in names]
    missing = [path for path in paths if not listed.has(os.path.normpath(path))]
    if not missing:
        return []
    more = ', ...' if len(missing) > _NUM_NAMED else ''
    message = (
        f'{file.part}: {len(missing):,} of {len(paths):,} images of {file.path} are '
        f'missing: {", ".join(missing[:_NUM_NAMED])}{more}'
    )
    if file.may_lack and len(missing) < len(paths):
        return [f'{message}; they are skipped (on_bad_image)']
    raise ValueError(f'{message}; check data_root and data_prefix')
