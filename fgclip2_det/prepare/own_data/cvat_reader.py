"""CVAT's own XML, 'CVAT for images 1.1', which Datumaro and FiftyOne write as well."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from fgclip2_det.coco.checks import is_number
from fgclip2_det.io import InputError
from fgclip2_det.prepare.xml_files import read_xml

from .findings import Findings
from .image_files import ImageFiles
from .records import OwnBox, OwnData, OwnImage, split_of, split_of_path
from .shapes import as_size, corner_box, polygon, turned_box
from .sniffing import Found

_CORNERS = ('xtl', 'ytl', 'xbr', 'ybr')
_NO_BOX = ('points', 'polyline', 'cuboid', 'skeleton', 'ellipse', 'tag')


def read_cvat_folder(
    folder: Path, found: Found, files: ImageFiles, findings: Findings
) -> OwnData:
    """All XML files of a folder.

    Raises:
        InputError: naming the file: tracks of 'CVAT for video', whose frames have no
            names.
    """
    images: list[OwnImage] = []
    names: dict[str, None] = {}
    for path in found.paths:
        try:
            root = read_xml(path)
        except InputError as error:
            findings.add('unreadable', str(error))
            continue
        if root.find('track') is not None:
            raise InputError(
                f'{path} has tracks of a video, whose frames are no files; export '
                "'CVAT for images 1.1'"
            )
        for label in root.iterfind('meta//labels/label'):
            name = (label.findtext('name') or '').strip()
            if name and not (label.findtext('parent') or '').strip():
                names.setdefault(name)  # those with a parent are points of a skeleton
        near = path.parent.relative_to(folder).as_posix()
        near = '' if near == '.' else near
        for entry in root.iterfind('image'):
            images.append(_image(path, entry, near, findings))
    for image in images:
        for box in image.boxes:
            names.setdefault(box.name)
    return OwnData('CVAT for images', images, [{'name': name} for name in names])


def _image(
    path: Path, entry: ElementTree.Element, near: str, findings: Findings
) -> OwnImage:
    name = entry.get('name') or ''
    split = split_of(entry.get('subset') or '') or split_of(path.stem)
    image = OwnImage(
        name, split or split_of_path(near), f'{path}: image {entry.get("id")}', near
    )
    try:
        image.size = as_size(*_numbers(image.where, entry, ('width', 'height')))
    except InputError as error:
        findings.add('bad_entry', str(error))
    for shape in entry:
        try:
            box = _to_box(image.where, shape, findings)
        except InputError as error:
            findings.add('bad_entry', str(error))
        else:
            if box is not None:
                image.boxes.append(box)
    return image


def _to_box(
    where: str, shape: ElementTree.Element, findings: Findings
) -> OwnBox | None:
    name = (shape.get('label') or '').strip()
    if not name:
        raise InputError(f'{where}: a {shape.tag} has no label')
    if shape.tag == 'box':
        x1, y1, x2, y2 = _numbers(where, shape, _CORNERS)
        degrees = _number(where, 'rotation', shape.get('rotation') or '0')
        if degrees % 360:
            findings.add('turned_box', f'{where}: {name!r}')
            return turned_box(name, x1, y1, x2 - x1, y2 - y1, degrees, 'center')
        return corner_box(name, x1, y1, x2, y2)
    if shape.tag == 'polygon':
        findings.add('polygon', f'{where}: {name!r}')
        return polygon(name, _points(where, shape))
    if shape.tag == 'mask':
        findings.add('mask', f'{where}: {name!r}')
        left, top, width, height = _numbers(
            where, shape, ('left', 'top', 'width', 'height')
        )
        return OwnBox(name, [left, top, width, height])
    if shape.tag in _NO_BOX:
        findings.add('shape', f'{where}: a {shape.tag} of {name!r}')
    return None


def _numbers(
    where: str, entry: ElementTree.Element, keys: tuple[str, ...]
) -> list[float]:
    values = []
    for key in keys:
        values.append(_number(where, key, entry.get(key)))
    return values


def _number(where: str, key: str, text: str | None) -> float:
    try:
        value = float(text or '')
    except ValueError:
        value = float('nan')
    if not is_number(value):
        raise InputError(f'{where}: {key} must be a number, got {text!r:.80}')
    return value


def _points(where: str, shape: ElementTree.Element) -> list[float]:
    words = (shape.get('points') or '').replace(';', ',').split(',')
    values = [_number(where, 'points', word) for word in words]
    if len(values) < 6 or len(values) % 2:
        raise InputError(f'{where}: a polygon has {len(values)} numbers')
    return values
