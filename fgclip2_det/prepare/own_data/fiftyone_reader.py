"""FiftyOne's own format: ``samples.json`` and ``metadata.json``."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from fgclip2_det.coco.checks import is_number
from fgclip2_det.io import InputError
from fgclip2_det.io.text import read_json

from .findings import Findings
from .image_files import ImageFiles
from .records import OwnBox, OwnData, OwnImage, split_of
from .shapes import as_size, four_numbers
from .sniffing import Found


def read_fiftyone_folder(
    folder: Path, found: Found, files: ImageFiles, findings: Findings
) -> OwnData:
    """Detections of all samples; sides are shares of the image file's own.

    Raises:
        InputError: naming the file: no samples, or several fields of detections, none
            of which is called 'ground_truth'.
    """
    images: list[OwnImage] = []
    names: dict[str, None] = {}
    for path in found.paths:
        content = found.contents.get(path)
        samples = (read_json(path) if content is None else content).get('samples')
        if not isinstance(samples, list):
            raise InputError(f"{path}: 'samples' must be a list")
        field = _field(path, samples)
        for name in _listed(path.with_name('metadata.json'), field):
            names.setdefault(name)
        near = path.parent.relative_to(folder).as_posix()
        near = '' if near == '.' else near
        for number, sample in enumerate(samples):
            where = f'{path}: sample {number} (from 0)'
            image = _image(where, sample, near, files, findings)
            if image is not None:
                _add_boxes(image, sample.get(field), findings)
                images.append(image)
    for image in images:
        for box in image.boxes:
            names.setdefault(box.name)
    return OwnData('FiftyOne', images, [{'name': name} for name in names])


def _field(path: Path, samples: list) -> str:
    """The field that holds the labels."""
    fields: dict[str, None] = {}
    for sample in samples:
        if isinstance(sample, dict):
            for key, value in sample.items():
                if isinstance(value, dict) and value.get('_cls') == 'Detections':
                    fields.setdefault(key)
    if 'ground_truth' in fields or len(fields) == 1:
        return 'ground_truth' if 'ground_truth' in fields else next(iter(fields))
    what = f'several: {", ".join(fields)}' if fields else 'none'
    raise InputError(
        f"{path}: one field of detections is expected, or 'ground_truth', got {what}; "
        'export the field of the labels alone'
    )


def _listed(path: Path, field: str) -> list[str]:
    """Class names of the metadata."""
    if not path.is_file():
        return []
    content = read_json(path)
    content = content if isinstance(content, dict) else {}
    classes = content.get('classes')
    own = classes.get(field) if isinstance(classes, dict) else None
    names = own or content.get('default_classes')
    names = names if isinstance(names, list) else []
    return [name.strip() for name in names if isinstance(name, str) and name.strip()]


def _image(
    where: str, sample: Any, near: str, files: ImageFiles, findings: Findings
) -> OwnImage | None:
    name = sample.get('filepath') if isinstance(sample, dict) else None
    if not isinstance(name, str) or not name:
        findings.add('bad_entry', f'{where} has no filepath')
        return None
    tags = sample.get('tags')
    splits = [split_of(str(t)) for t in (tags if isinstance(tags, list) else [])]
    split = next((own for own in splits if own), None)
    image = OwnImage(name, split, where, near)
    meta = sample.get('metadata')
    meta = meta if isinstance(meta, dict) else {}
    image.size = as_size(meta.get('width'), meta.get('height'))
    paths = files.find(name, near, split)
    if len(paths) == 1:
        image.path = paths[0]
        with suppress(InputError):  # counted where all image files are opened
            image.extra['shown'] = files.size(paths[0])
    return image


def _add_boxes(image: OwnImage, value: Any, findings: Findings) -> None:
    size = image.extra.pop('shown', None) or image.size
    found = value.get('detections') if isinstance(value, dict) else None
    for each in found if isinstance(found, list) else []:
        label = each.get('label') if isinstance(each, dict) else None
        sides = each.get('bounding_box') if isinstance(each, dict) else None
        text = f'{image.where}: {label!r}'
        if not isinstance(label, str) or not label.strip():
            findings.add('bad_entry', f'{image.where}: a detection has no label')
            continue
        four = four_numbers(sides)
        if four is None or size is None:
            why = 'no four numbers' if four is None else 'no size'
            findings.add('bad_box', f'{text} has {why}')
            continue
        if each.get('mask') is not None:
            findings.add('mask', text)
        if is_number(each.get('confidence')):
            findings.add('score', text)
        x, y, w, h = (side * size[i % 2] for i, side in enumerate(four))
        bbox = [round(side, 6) for side in (x, y, w, h)]
        image.boxes.append(OwnBox(label.strip(), bbox))
