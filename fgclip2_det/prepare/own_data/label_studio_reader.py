"""Label Studio's JSON and JSON-MIN; its other exports are read as what they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fgclip2_det.coco.checks import is_number
from fgclip2_det.io import InputError
from fgclip2_det.io.text import read_json

from .findings import Findings
from .image_files import ImageFiles
from .records import OwnBox, OwnData, OwnImage, split_of_path
from .shapes import as_size, flat_points, four_numbers, polygon, turned_box
from .sniffing import Found

_NAMES = ('rectanglelabels', 'polygonlabels', 'ellipselabels', 'labels')
_RECTANGLE = ('x', 'y', 'width', 'height')
# keys of a region's place
_PLACES = ('x', 'width', 'radiusX', 'points', 'vertices', 'rle', 'imageDataURL')
_NO_BOX = ('keypoint', 'brush', 'vector', 'bitmask')  # types, and before 'labels'


def read_label_studio_folder(
    folder: Path, found: Found, files: ImageFiles, findings: Findings
) -> OwnData:
    """All tasks of a folder.

    Sides are percent of the image as it is shown: they become pixels of the file's
    upright size where there is a file, and of ``original_width`` and
    ``original_height`` otherwise.
    """
    images = []
    for path in found.paths:
        content = found.contents.get(path)
        content = read_json(path) if content is None else content
        near = path.parent.relative_to(folder).as_posix()
        near = '' if near == '.' else near
        for where, name, results in _tasks(path, content, findings):
            image = OwnImage(name, split_of_path(near), where, near)
            shown = _shown_size(image, files)
            for region in _regions(results):
                _add(image, region, shown, findings)
            images.append(image)
    names = sorted({box.name for image in images for box in image.boxes})
    return OwnData('Label Studio', images, [{'name': name} for name in names])


def _tasks(
    path: Path, content: Any, findings: Findings
) -> Iterator[tuple[str, str, list[dict]]]:
    """Where each task stands, the name of its image and the results that count."""
    newest: dict[Any, tuple[str, str, list[dict]]] = {}
    for number, task in enumerate(content):
        where = f'{path}: task {number} (from 0)'
        if not isinstance(task, dict):
            findings.add('bad_entry', f'{where} is no object')
            continue
        given = task.get('id')
        own = given if type(given) in (int, str) else f'{number} (from 0)'
        where = f'{path}: task {own}'
        name = _image_name(task.get('data', task))
        if name is None:
            findings.add('bad_entry', f'{where} has no image')
            continue
        key = own, name  # tasks of several projects may have one id
        if key in newest:  # JSON-MIN has a row an annotation
            kind = 'repeat' if 'data' in task else 'annotators'
            findings.add(kind, where)
        newest[key] = where, name, _results(where, task, findings)
    yield from newest.values()


def _image_name(data: Any) -> str | None:
    """The image of a task: ``image``, or else what looks like a file."""
    if not isinstance(data, dict):
        return None
    given = data.get('image')
    if isinstance(given, str) and given:
        return given
    for value in data.values():
        if isinstance(value, str) and value.lower().split('?')[0].endswith(
            ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff')
        ):
            return value
    return None


def _results(where: str, task: dict, findings: Findings) -> list[dict]:
    """Results of the newest annotation that was not cancelled."""
    if 'data' not in task:
        lists = [each for each in task.values() if isinstance(each, list)]
        flat = [row for rows in lists for row in rows if isinstance(row, dict)]
        return [
            dict(
                value=row, original_width=row.get('original_width'),
                original_height=row.get('original_height'),
            )
            for row in flat
        ]  # fmt: skip
    given = _dicts(task.get('annotations')) or _dicts(task.get('completions'))
    own = [each for each in given if not each.get('was_cancelled')]
    if len(own) > 1:
        findings.add('annotators', where)
    own.sort(key=lambda a: str(a.get('updated_at') or a.get('created_at') or ''))
    return _dicts(own[-1].get('result')) if own else []


def _dicts(value: Any) -> list[dict]:
    """The objects of a list; none of anything else."""
    own = value if isinstance(value, list) else []
    return [each for each in own if isinstance(each, dict)]


def _shown_size(image: OwnImage, files: ImageFiles) -> tuple[int, int] | None:
    paths = files.find(image.name, image.near, image.split)
    if len(paths) != 1:
        return None
    image.path = paths[0]
    try:
        return files.size(paths[0])
    except InputError:
        return None  # counted where all image files are opened


def _regions(results: list[dict]) -> Iterator[list[dict]]:
    """Results with a place, by region: its rectangle, its labels, texts and choices
    are results of their own, with one id; in JSON-MIN, at one place."""
    regions: dict[Any, list[dict]] = {}
    results = [each for each in results if isinstance(each.get('value'), dict)]
    labelled = {_place(r['value']) for r in results if _has_labels(r['value'])}
    for number, result in enumerate(results):
        own, value = result.get('id'), result['value']
        if type(own) in (int, str):
            regions.setdefault(own, []).append(result)
        elif _has_labels(value) or _place(value) not in labelled:
            regions[number,] = [result]
    for region in regions.values():
        if any(key in result['value'] for result in region for key in _PLACES):
            yield region


def _add(
    image: OwnImage,
    region: list[dict],
    shown: tuple[int, int] | None,
    findings: Findings,
) -> None:
    placed = [r for r in region if any(key in r['value'] for key in _PLACES)]
    # texts and choices repeat the place, perhaps in part
    result = next((r for r in placed if _is_shape(r)), placed[0])
    value = result['value']
    size = as_size(result.get('original_width'), result.get('original_height'))
    image.size = size or image.size
    if result.get('image_rotation'):
        findings.add('turned_image', image.where)
    own = shown or image.size
    if kind := _kind_without_box(region):
        findings.add('shape', f'{image.where}: a region of {kind}')
        return
    names = (_name(each['value']) for each in (result, *region))
    name = next(filter(None, names), None)
    if name is None or own is None:
        why = 'has no label' if own else 'has no size'
        findings.add('bad_entry', f'{image.where}: a region {why}')
        return
    box = _to_box(f'{image.where}: {name!r}', name, value, own, findings)
    if box is not None:
        image.boxes.append(box)


def _name(value: dict) -> str | None:
    for key in _NAMES:
        given = value.get(key)
        if isinstance(given, list) and given and isinstance(given[0], str):
            return given[0].strip() or None
    return None


def _place(value: dict) -> str:
    return repr([value.get(key) for key in (*_PLACES, *_RECTANGLE)])


def _has_labels(value: dict) -> bool:
    return any(key.endswith('labels') for key in value)


def _is_shape(result: dict) -> bool:
    """Whether a result is a region itself, not a text or a choice of one."""
    kind = result.get('type')
    return isinstance(kind, str) and kind.removesuffix('labels') in (
        'rectangle', 'polygon', 'ellipse', *_NO_BOX
    )  # fmt: skip


def _kind_without_box(region: list[dict]) -> str | None:
    """'keypoint', 'brush' or 'vector' for a region of these."""
    for result in region:
        value = result['value']
        if 'vertices' in value or 'rle' in value:
            return 'vector' if 'vertices' in value else 'brush'
        sides = {'width', 'height', 'radiusX', 'rectanglelabels'} & value.keys()
        if 'type' not in result and sides == {'width'}:  # JSON-MIN
            return 'keypoint'
        for kind in _NO_BOX:
            if f'{kind}labels' in value or result.get('type') == kind:
                return kind
    return None


def _to_box(
    where: str, name: str, value: dict, size: tuple[float, float], findings: Findings
) -> OwnBox | None:
    width, height = size[0] / 100, size[1] / 100
    points = flat_points(value.get('points'))
    if points is not None and len(points) >= 6:
        findings.add('polygon', where)
        scaled = [p * (width, height)[i % 2] for i, p in enumerate(points)]
        return polygon(name, scaled)
    if 'radiusX' in value:
        sides = four_numbers([value.get(k) for k in ('x', 'y', 'radiusX', 'radiusY')])
        if sides is not None:
            x, y, rx, ry = sides
            return _box(where, name, (x - rx, y - ry, 2 * rx, 2 * ry), value, size,
                        findings)  # fmt: skip
    sides = four_numbers([value.get(key) for key in _RECTANGLE])
    if sides is not None:
        return _box(where, name, tuple(sides), value, size, findings)
    if 'x' in value or 'width' in value:
        findings.add('bad_box', f'{where}: x, y, width, height must be numbers')
    elif points is not None:
        findings.add('shape', where)
    return None


def _box(
    where: str,
    name: str,
    percent: tuple[float, ...],
    value: dict,
    size: tuple[float, float],
    findings: Findings,
) -> OwnBox:
    x, y, w, h = (side * size[i % 2] / 100 for i, side in enumerate(percent))
    degrees = value.get('rotation') or 0
    if not is_number(degrees) or degrees % 360 == 0:
        return OwnBox(name, [round(side, 6) for side in (x, y, w, h)])
    findings.add('turned_box', where)
    about = 'center' if 'radiusX' in value else 'corner'
    return turned_box(name, x, y, w, h, degrees, about)
