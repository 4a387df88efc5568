"""labelme: one JSON file an image."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from fgclip2_det.io import InputError
from fgclip2_det.io.text import read_json

from .findings import Findings
from .image_files import ImageFiles
from .records import OwnBox, OwnData, OwnImage, split_of_path
from .shapes import as_size, corner_box, flat_points, polygon
from .sniffing import Found

_TURNED = ('oriented_rectangle', 'rotation')  # X-AnyLabeling's


def read_labelme_folder(
    folder: Path, found: Found, files: ImageFiles, findings: Findings
) -> OwnData:
    """All JSON files of a folder that have shapes. Classes are in the order of their
    names."""
    images = []
    for path in found.paths:
        near = path.parent.relative_to(folder).as_posix()
        near = '' if near == '.' else near
        try:
            content = read_json(path)
        except InputError as error:
            findings.add('unreadable', str(error))
            continue
        shapes = content.get('shapes') if isinstance(content, dict) else None
        if not isinstance(shapes, list):
            continue  # another JSON file of the folder
        name = content.get('imagePath')
        image = OwnImage(
            name if isinstance(name, str) and name else path.stem,
            split_of_path(near),
            str(path),
            near,
            as_size(content.get('imageWidth'), content.get('imageHeight')),
        )
        if not files.find(image.name, near, image.split):
            same = files.by_stem(path.stem, near, image.split)
            image.path = same[0] if len(same) == 1 else None
        for i, shape in enumerate(shapes):
            try:
                box = _to_box(f'{path}: shape {i}', shape, findings)
            except InputError as error:
                findings.add('bad_entry', str(error))
            else:
                image.boxes += [] if box is None else [box]
        images.append(image)
    names = sorted({box.name for image in images for box in image.boxes})
    return OwnData('labelme', images, [{'name': name} for name in names])


def _to_box(where: str, shape: Any, findings: Findings) -> OwnBox | None:
    label = shape.get('label') if isinstance(shape, dict) else None
    if not isinstance(label, str) or not label.strip():
        raise InputError(f'{where} has no label')
    name, kind = label.strip(), shape.get('shape_type', 'polygon')
    points = flat_points(shape.get('points'))
    if points is None:
        raise InputError(f'{where} has no points of two finite numbers')
    text = f'{where}: a {kind} of {name!r}'
    if kind in ('rectangle', 'mask') and len(points) in (4, 8):
        if kind == 'mask':
            findings.add('mask', text)
        return corner_box(name, *points[:2], *points[len(points) // 2 :][:2])
    if kind == 'circle' and len(points) == 4:
        x, y, ex, ey = points
        radius = math.hypot(ex - x, ey - y)
        return corner_box(name, x - radius, y - radius, x + radius, y + radius)
    if kind in ('polygon', *_TURNED) and len(points) >= 6:
        findings.add('turned_box' if kind in _TURNED else 'polygon', text)
        box = polygon(name, points)
        return OwnBox(name, box.bbox) if kind in _TURNED else box
    findings.add('shape', text)
    return None
