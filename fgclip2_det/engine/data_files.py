"""Check that a training's annotation files and images exist before it starts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fgclip2_det.coco.annotation_file import parse_coco, stream_coco
from fgclip2_det.coco.entries import image_name
from fgclip2_det.coco.masks import annotation_mask_fault, has_no_polygon
from fgclip2_det.io import InputError
from fgclip2_det.io.json_stream import NotUtf8Error
from fgclip2_det.io.text import read_json

_LOADERS = ('train_dataloader', 'val_dataloader')
_EVALUATORS = ('val_evaluator',)
_NUM_NAMED = 3  # missing images in a message
_MASK_LOADERS = ('with_mask',)


@dataclass(frozen=True)
class AnnotationFile:
    """One annotation file of a config, with the images it lists.

    Args:
        part: key of the config: 'train_dataloader', 'val_evaluator', ...
        path: path of the annotation file.
        folder: folder of the images; None if images are not read.
        masks: whether pycocotools reads its masks.
        may_lack: whether unreadable images are skipped (``on_bad_image='skip'``).
    """

    part: str
    path: Path
    folder: Path | None = None
    masks: bool = False
    may_lack: bool = False


def check_data_files(cfg: Mapping[str, Any]) -> list[str]:
    """Detect wrong paths before a run starts instead of after its last epoch.

    Checks the data sets of training and validation and the evaluators of validation,
    including data sets in wrappers such as ``ConcatDataset``. Annotation files must
    exist; each COCO file is streamed once and each image folder is listed once. Files
    on remote storage (``backend_args``, URLs) and generated data sets are not checked.

    Args:
        cfg: MMEngine config.

    Returns:
        Messages about missing images that the data set is allowed to skip.

    Raises:
        ValueError: naming the key of the config, for an annotation file that is missing
            or not complete JSON, for missing images (their number and the first ones),
            and for masks that pycocotools cannot read.
    """
    files = list(data_files(cfg))
    for file in files:
        if not file.path.is_file():
            raise InputError(
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


def data_files(cfg: Mapping[str, Any]) -> Iterator[AnnotationFile]:
    """Annotation files that a training reads, in the order of the config."""
    for part in _LOADERS:
        loader = cfg.get(part)
        if isinstance(loader, Mapping):
            for dataset in _with_ann_file(loader.get('dataset')):
                yield from _of_dataset(part, dataset)
    for part in _EVALUATORS:
        for metric in _with_ann_file(cfg.get(part)):
            if _is_local(metric, metric['ann_file']):
                yield AnnotationFile(
                    part, Path(metric['ann_file']), masks=_has_segm(metric)
                )


def _with_ann_file(value: Any) -> Iterator[Mapping]:
    """Nested dicts of a config that have an ``ann_file``."""
    if isinstance(value, Mapping):
        if isinstance(value.get('ann_file'), str) and value['ann_file']:
            yield value
        else:
            for entry in value.values():
                yield from _with_ann_file(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _with_ann_file(entry)


def _of_dataset(part: str, dataset: Mapping) -> Iterator[AnnotationFile]:
    root = dataset.get('data_root') or ''
    path = os.path.join(root, dataset['ann_file'])
    prefix = dataset.get('data_prefix') or {}
    folder = prefix.get('img', prefix.get('img_path', ''))
    if not _is_local(dataset, path) or not isinstance(folder, str):
        return
    yield AnnotationFile(
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


def _merged(files: list[AnnotationFile]) -> list[AnnotationFile]:
    """One entry per file and folder: a data set and its evaluator share files."""
    merged: dict = {}
    for file in files:
        same = [key for key in merged if key[0] == file.path]
        shared = file.folder is None and same
        key = same[0] if shared else (file.path, file.folder)
        old = merged.get(key)
        if old is None:
            merged[key] = file
        elif file.masks and not old.masks:
            merged[key] = AnnotationFile(
                old.part, old.path, old.folder, True, old.may_lack and file.may_lack
            )
    return list(merged.values())


def _read(file: AnnotationFile) -> list[str]:
    """Image file names of a COCO file; checks its masks if they are used."""
    with open(file.path, 'rb') as opened:
        if opened.read(64).lstrip().startswith(b'['):  # not a COCO file
            return []
    try:
        images = _check_entries(file, _pieces(file))
    except ValueError as error:
        raise InputError(f'{file.part}: {error}') from error
    names = map(image_name, images.values())
    return [name for name in names if name]


def _pieces(file: AnnotationFile) -> Iterator[tuple[str, bool, Any]]:
    """Entries of images, and of annotations if their masks are read."""
    sections = ('images', 'annotations') if file.masks else ('images',)
    try:
        yield from stream_coco(file.path, sections=sections, is_optional=True)
        return
    except NotUtf8Error:
        pass  # decoded whole below, as the data set does
    content = read_json(file.path)
    held = [key for key in sections if isinstance(content, dict) and key in content]
    if held:
        options = {'image_keys': (), 'keep_outside': True}
        coco = parse_coco(content, file.path, sections=held, **options)
        yield from (('images', True, image) for image in coco.images.values())
        yield from (('annotations', True, entry) for entry in coco.annotations)


def _check_entries(
    file: AnnotationFile, pieces: Iterator[tuple[str, bool, Any]]
) -> dict:
    """Images by id; masks are checked on the way."""
    images: dict = {}
    waiting = []  # annotations that come before the images
    for key, is_entry, value in pieces:
        if is_entry and key == 'images':
            images[value['id']] = value
        elif not is_entry or key != 'annotations' or not file.masks:
            continue
        elif value.get('segmentation'):
            image = images.get(value['image_id'])
            if image is None:
                waiting.append(value)
            else:
                _check_mask(file, value, image)
    for annotation in waiting:
        if (image := images.get(annotation['image_id'])) is not None:
            _check_mask(file, annotation, image)
    return images


def _check_mask(file: AnnotationFile, annotation: dict, image: dict) -> None:
    lenient = file.part == 'train_dataloader'  # only LoadAnnotations reads them there
    if lenient and has_no_polygon(annotation.get('segmentation')):
        return
    fault = annotation_mask_fault(annotation, image)
    if fault:
        raise InputError(f'{file.path}: annotation {annotation["id"]}: {fault}')


class _Listing:
    """File names in folders; each folder is listed once."""

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
    file: AnnotationFile, folder: Path, names: list[str], listed: _Listing
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
    raise InputError(f'{message}; check data_root and data_prefix')
