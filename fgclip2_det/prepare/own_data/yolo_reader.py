"""YOLO's labels: with a ``data.yaml`` (ultralytics, Roboflow), or with a list of names
(Darknet, CVAT, Label Studio)."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

import yaml

from fgclip2_det.io import InputError
from fgclip2_det.io.text import read_text
from fgclip2_det.io.yaml_text import parse_yaml
from fgclip2_det.prepare.yolo import class_number, read_names

from .findings import Findings
from .image_files import ImageFiles, walk
from .records import OwnBox, OwnData, OwnImage, split_of_path
from .shapes import around
from .sniffing import Found

_SPLIT_KEYS = {'train': 'train', 'val': 'val', 'valid': 'val', 'test': 'test'}
_NOT_LABELS = {'classes.txt', 'requirements.txt', 'labelmap.txt'}


def read_yolo_folder(
    folder: Path, found: Found, files: ImageFiles, findings: Findings
) -> OwnData:
    """Images and labels of a folder.

    Raises:
        InputError: no class names, or lists of them that differ.
    """
    source = found.paths[0]
    names = read_names(source)
    for other in found.paths[1:]:
        if read_names(other) != names:
            raise InputError(
                f'{source} and {other} list other class names; keep the right one'
            )
    splits = _splits(source, files, findings)
    labels = _label_files(folder, found, splits)
    first = _first_number(labels.values(), len(names))
    if first:
        findings.add('from_one', f'{source}: 1 to {len(names)}, none is 0')
    images, used = [], set()
    for path, split in splits.items():
        key = _label_of(path, labels)
        label = labels.get(key)
        used.add(key)
        image = OwnImage(path, split, str(label or files.full(path)), path=path)
        images.append(image)
        if label is None:
            findings.add('background', path)
            continue
        try:
            size = files.size(path)
        except InputError:
            continue  # counted where all image files are opened
        _read_labels(label, size, names, first, image, findings)
    for key, label in labels.items():
        if key not in used:
            findings.add('no_image', f'{label} has no image')
    return OwnData('YOLO', images, [{'name': name} for name in names])


def _splits(
    source: Path, files: ImageFiles, findings: Findings
) -> dict[str, str | None]:
    """Image -> its split, as the data.yaml says or else its folders."""
    own: dict[str, str | None] = {}
    if source.suffix.lower() in ('.yaml', '.yml'):
        content = parse_yaml(read_text(source), source, yaml.BaseLoader)
        base = content.get('path', '') if isinstance(content, dict) else ''
        for key, split in _SPLIT_KEYS.items():
            entry = content.get(key)
            for each in entry if isinstance(entry, list) else [entry] if entry else []:
                paths = _listed(str(each), str(base), source, files)
                if not paths:
                    findings.add('no_split', f'{source}: {key}: {each}')
                for path in paths:
                    own.setdefault(path, split)
    for path in files.paths:  # nothing is lost that the yaml forgets
        own.setdefault(path, split_of_path(path))
    return own


def _listed(entry: str, base: str, source: Path, files: ImageFiles) -> list[str]:
    """Images of a folder or list of a data.yaml; its paths are often those of another
    computer, or begin with '../' though they lie beside it, as Roboflow's do."""
    near = source.parent
    text = entry.replace('\\', '/')
    trimmed = text.lstrip('./')
    for place in (near / base / text, near / text, near / trimmed):
        prefix = Path(os.path.relpath(place.resolve(), files.root)).as_posix()
        inside = [p for p in files.paths if p.startswith(f'{prefix}/') or prefix == '.']
        if inside:
            return inside
        if place.suffix == '.txt' and place.is_file():
            lines = read_text(place).splitlines()
            close = Path(os.path.relpath(near.resolve(), files.root)).as_posix()
            hits = (files.find(line.strip(), close) for line in lines if line.strip())
            return [hit[0] for hit in hits if len(hit) == 1]
    return []


def _label_files(
    folder: Path, found: Found, splits: dict[str, str | None]
) -> dict[str, Path]:
    """Relative path without ending -> label file, of all text files that may be one."""
    lists = {path.resolve() for path in found.paths}
    stems = {PurePosixPath(path).stem for path in splits}
    own = {}
    for path in walk(folder):
        if path.suffix.lower() != '.txt' or path.resolve() in lists:
            continue
        place = PurePosixPath(path.relative_to(folder).as_posix())
        is_label = 'labels' in place.parts or path.stem in stems
        if is_label and path.name not in _NOT_LABELS:
            own[place.with_suffix('').as_posix()] = path
    return own


def _label_of(image: str, labels: dict[str, Path]) -> str:
    """Key of an image's label file: its folder 'images' called 'labels', or beside."""
    stem = PurePosixPath(image).with_suffix('')
    parts = list(stem.parts)
    for i in range(len(parts) - 2, -1, -1):
        if parts[i] == 'images':
            swapped = '/'.join([*parts[:i], 'labels', *parts[i + 1 :]])
            if swapped in labels:
                return swapped
    return stem.as_posix()


def _first_number(labels: Iterable[Path], count: int) -> int:
    """0, or 1 where classes are 1 to ``count``: PyLabel writes COCO's category ids."""
    numbers = set()
    for path in labels:
        try:
            rows = [line.split() for line in read_text(path).splitlines()]
        except InputError:
            continue  # counted where its boxes are read
        for row in filter(None, rows):
            with suppress(ValueError):  # the same
                numbers.add(class_number(row[0]))
    return int(bool(numbers) and min(numbers) == 1 and max(numbers) == count)


def _read_labels(
    path: Path,
    size: tuple[int, int],
    names: list[str],
    first: int,
    image: OwnImage,
    findings: Findings,
) -> None:
    try:
        lines = read_text(path).splitlines()
    except InputError as error:
        findings.add('unreadable', str(error))
        return
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f'{path}: line {number}'
            try:
                box = _to_box(where, line.split(), size, names, first, findings)
            except InputError as error:
                findings.add('bad_entry', str(error))
            else:
                image.boxes.append(box)


def _to_box(
    where: str,
    words: list[str],
    size: tuple[int, int],
    names: list[str],
    first: int,
    findings: Findings,
) -> OwnBox:
    """A box of ``class cx cy w h``, perhaps with a score, or of corners."""
    try:
        label, *shares = [class_number(words[0]), *map(float, words[1:])]
    except ValueError as error:
        raise InputError(f'{where} has no number where one belongs ({error})') from None
    if not all(map(math.isfinite, shares)):
        raise InputError(f'{where} has a number that is not finite')
    label -= first
    if not 0 <= label < len(names):
        last = first + len(names) - 1
        raise InputError(f'{where}: class {label + first} is not in {first} to {last}')
    points = [share * size[i % 2] for i, share in enumerate(shares)]
    if len(shares) in (4, 5):
        if len(shares) == 5:
            findings.add('score', where)
        cx, cy, w, h = points[:4]
        return OwnBox(names[label], [cx - w / 2, cy - h / 2, w, h])
    if len(shares) < 6 or len(shares) % 2:
        raise InputError(
            f'{where} has {len(words)} numbers; class, cx, cy, w, h are expected, or '
            'class and corners'
        )
    box = OwnBox(names[label], around(points))
    if len(shares) == 8 and _is_rectangle(points):
        if not _is_upright(points):
            findings.add('turned_box', where)
        return box
    findings.add('polygon', where)
    box.extra['segmentation'] = [points]
    return box


def _sides(points: list[float]) -> Iterator[tuple[float, float]]:
    for i in range(0, 8, 2):
        j = (i + 2) % 8
        yield points[j] - points[i], points[j + 1] - points[i + 1]


def _is_rectangle(points: list[float]) -> bool:
    """Whether four corners are of a rectangle, to a pixel, as YOLO-OBB has them."""
    (ax, ay), (bx, by), (cx, cy), _ = _sides(points)
    area = math.hypot(ax, ay) * math.hypot(bx, by)
    return abs(ax + cx) + abs(ay + cy) < 1 and abs(ax * bx + ay * by) < 0.02 * area + 1


def _is_upright(points: list[float]) -> bool:
    return all(min(abs(dx), abs(dy)) < 0.5 for dx, dy in _sides(points))
