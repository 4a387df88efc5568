"""YOLO's labels: with a ``data.yaml`` (ultralytics, Roboflow), or with a list of names
(Darknet, CVAT, Label Studio)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path, PurePosixPath

import yaml

from fgclip2_det.io import InputError
from fgclip2_det.io.text import read_text
from fgclip2_det.io.yaml_text import parse_yaml
from fgclip2_det.prepare.yolo import read_names

from .findings import Findings
from .image_files import ImageFiles, nfc, walk
from .records import OwnData, OwnImage, split_of_folder
from .sniffing import Found
from .yolo_lines import LineForm, first_number, read_labels
from .yolo_splits import read_splits

_NOT_LABELS = {'classes.txt', 'requirements.txt', 'labelmap.txt'}
_RESULTS = ('runs', 'predict')  # folders of what a detector found
SPLITS = ('train', 'val', 'test')
Splits = Mapping[str, str | None]


def read_yolo_folder(
    folder: Path, found: Found, files: ImageFiles, findings: Findings
) -> OwnData:
    """Images and labels of a folder.

    Raises:
        InputError: no class names, or lists of them that differ; a ``kpt_shape`` that
            is not two numbers.
    """
    source = found.paths[0]
    names = read_names(source)
    for other in found.paths[1:]:
        if read_names(other) != names:
            raise InputError(
                f'{source} and {other} list other class names; keep the right one'
            )
    content = _yaml(source)
    splits, lists = read_splits(folder, source, content, files, findings)
    lists |= {path.resolve() for path in found.paths}
    labels = _label_files(folder, lists, splits)
    keys = _label_keys(splits, labels)
    first = first_number((labels[key] for key in set(keys.values())), len(names))
    if first:
        findings.add('from_one', f'{source}: 1 to {len(names)}, none is 0')
    form = LineForm(names, first, _keypoints(source, content))
    images, users = [], {}
    for path, split in splits.items():
        key = keys.get(path)
        if key is None:
            findings.add('background', path)
            images.append(OwnImage(path, split, str(files.full(path)), path=path))
            continue
        label = labels[key]
        if (other := users.setdefault(key, path)) != path:
            findings.add('one_label', f'{label}: {other} and {path}')
            continue
        image = OwnImage(path, split, str(label), path=path)
        images.append(image)
        try:
            size = files.size(path)
        except InputError:
            continue  # counted where all image files are opened
        read_labels(label, size, form, image, findings)
    for key, label in labels.items():
        if key not in users:
            findings.add('no_image', f'{label} has no image')
    return OwnData('YOLO', images, [{'name': name} for name in names])


def _yaml(source: Path) -> dict:
    """Content of a data.yaml, scalars as text; empty for a list of names."""
    if source.suffix.lower() not in ('.yaml', '.yml'):
        return {}
    content = parse_yaml(read_text(source), source, yaml.BaseLoader)
    return content if isinstance(content, dict) else {}


def _keypoints(source: Path, content: dict) -> int | None:
    """Numbers of keypoints behind each box, by ``kpt_shape: [points, 2 or 3]``."""
    shape = content.get('kpt_shape')
    if shape is None:
        return None
    try:
        count, sides = map(int, shape if isinstance(shape, list) else ())
    except (TypeError, ValueError):  # not two, or no numbers
        count = sides = 0
    if count < 1 or sides not in (2, 3):
        raise InputError(
            f'{source}: kpt_shape must be [number of points, 2 or 3], got {shape!r:.80}'
            '; correct it, or remove it if the labels have no keypoints'
        )
    return count * sides


def _label_files(folder: Path, lists: set[Path], splits: Splits) -> dict[str, Path]:
    """Relative path without ending -> label file, of all text files that may be one."""
    stems = {PurePosixPath(nfc(path)).stem for path in splits}
    own = {}
    for path in walk(folder):
        if path.suffix.lower() != '.txt' or path.resolve() in lists:
            continue
        place = PurePosixPath(nfc(path.relative_to(folder).as_posix()))
        is_label = 'labels' in place.parts or place.stem in stems
        if is_label and path.name not in _NOT_LABELS:
            own[place.with_suffix('').as_posix()] = path
    return own


def _label_keys(splits: Splits, labels: Mapping[str, Path]) -> dict[str, str]:
    """Image -> key of its label file, of those that have one; elsewhere than usual
    only where no image has one at its usual place."""
    own = {path: _usual_key(path, labels) for path in splits}
    own = {path: key for path, key in own.items() if key in labels}
    return own or _keys_elsewhere(splits, labels)


def _usual_key(image: str, labels: Mapping[str, Path]) -> str:
    """Key of an image's label file: its folder 'images' called 'labels', or beside."""
    stem = PurePosixPath(nfc(image)).with_suffix('')
    parts = list(stem.parts)
    for i in range(len(parts) - 2, -1, -1):
        if parts[i] == 'images':
            swapped = '/'.join([*parts[:i], 'labels', *parts[i + 1 :]])
            if swapped in labels:
                return swapped
    return stem.as_posix()


def _keys_elsewhere(images: Iterable[str], keys: Iterable[str]) -> dict[str, str]:
    """Image -> label of its name in a folder of another name, as where images and
    labels are in trees of their own; nothing where several fit alike, or where their
    folders are of different splits."""
    tails: dict[tuple[str, str | None], list[str]] = defaultdict(list)
    for key in keys:
        parts = PurePosixPath(key).parts
        if not any(part.startswith(_RESULTS) for part in parts):
            for i in range(len(parts)):
                tails['/'.join(parts[i:]), split_of_folder(key)].append(key)
    fits = defaultdict(list)
    for path in images:
        parts = PurePosixPath(nfc(path)).with_suffix('').parts
        parts = ['labels' if part == 'images' else part for part in parts]
        split = split_of_folder(path)
        wanted = dict.fromkeys((None, split) if split else (None, *SPLITS))
        for i in range(len(parts)):  # the longest tail first
            best = [tails.get(('/'.join(parts[i:]), each), []) for each in wanted]
            if any(best):
                if sum(map(len, best)) == 1:
                    (key,) = chain.from_iterable(best)
                    fits[key].append(path)
                break
    return {paths[0]: key for key, paths in fits.items() if len(paths) == 1}
