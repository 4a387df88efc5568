"""COCO to YOLO's text labels, the reverse of :mod:`.yolo`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import yaml

DIGITS = 6  # of a share


def yolo_files(coco: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Paths below a folder, and their text: ``labels/a.txt`` of each image, and a
    ``data.yaml`` that finds them and ``images`` beside itself, where the images are to
    be called by :func:`yolo_name`.

    An image without boxes has an empty file, which makes it a background image.

    Args:
        coco: content of a COCO file; classes are numbered from 0 in its order.

    Raises:
        ValueError: two images that would share one label file.
    """
    check_stems(coco)
    numbers = {each['id']: i for i, each in enumerate(coco['categories'])}
    boxes = defaultdict(list)
    for each in coco['annotations']:
        boxes[each['image_id']].append(each)
    for image in coco['images']:
        lines = [
            _line(numbers[each['category_id']], each['bbox'], image)
            for each in boxes[image['id']]
        ]
        name = PurePosixPath(yolo_name(image['file_name'])).with_suffix('.txt')
        yield f'labels/{name}', ''.join(lines)
    names = [each['name'] for each in coco['categories']]
    data = {'train': 'images', 'val': 'images', 'nc': len(names), 'names': names}
    yield 'data.yaml', yaml.safe_dump(data, allow_unicode=True, sort_keys=False)


def yolo_name(name: str) -> str:
    """Path of an image below ``images``: its own, but for folders of that name.

    Trainers look for labels where the last folder 'images' of a path is called
    'labels', so folders below the first one are called 'images_'.
    """
    *folders, last = name.split('/')
    return '/'.join(['images_' if f == 'images' else f for f in folders] + [last])


def check_stems(coco: Mapping[str, Any]) -> None:
    """ValueError for two images whose names differ in their endings alone."""
    seen: dict[PurePosixPath, str] = {}
    for image in coco['images']:
        name = image['file_name']
        stem = PurePosixPath(yolo_name(name)).with_suffix('')
        other = seen.setdefault(stem, name)
        if other != name:
            raise ValueError(
                f'{other} and {name} would share one label file; rename one of them'
            )


def _line(number: int, bbox: list[float], image: Mapping[str, Any]) -> str:
    x, y, w, h = bbox
    width, height = image['width'], image['height']
    shares = (x + w / 2) / width, (y + h / 2) / height, w / width, h / height
    return ' '.join([str(number), *(f'{share:.{DIGITS}f}' for share in shares)]) + '\n'
