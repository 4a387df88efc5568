"""COCO to PASCAL VOC's XML annotations, the reverse of :mod:`.voc`."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from fgclip2_det.prepare.coco_to_yolo import check_stems


def voc_files(coco: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Paths below a folder, and their text: ``Annotations/a.xml`` of each image, and
    the list of images ``ImageSets/Main/all.txt``.

    Corners are whole pixels, counted from 1 and inclusive.

    Args:
        coco: content of a COCO file.

    Raises:
        ValueError: two images that would share one file.

    Source: the development kit of PASCAL VOC 2012, section 'Annotation'.
    """
    check_stems(coco)
    names = {each['id']: each['name'] for each in coco['categories']}
    boxes = defaultdict(list)
    for each in coco['annotations']:
        boxes[each['image_id']].append(each)
    stems = []
    for image in coco['images']:
        stems.append(str(PurePosixPath(image['file_name']).with_suffix('')))
        root = _image(image)
        for each in boxes[image['id']]:
            _add_object(root, names[each['category_id']], each['bbox'], image)
        ElementTree.indent(root, '\t')
        text = ElementTree.tostring(root, 'unicode')
        yield f'Annotations/{stems[-1]}.xml', f'{text}\n'
    yield 'ImageSets/Main/all.txt', ''.join(f'{stem}\n' for stem in stems)


def _image(image: Mapping[str, Any]) -> ElementTree.Element:
    root = ElementTree.Element('annotation')
    _add(root, 'folder', str(PurePosixPath(image['file_name']).parent))
    _add(root, 'filename', image['file_name'])
    size = ElementTree.SubElement(root, 'size')
    for key, value in (('width', image['width']), ('height', image['height'])):
        _add(size, key, value)
    _add(size, 'depth', 3)
    _add(root, 'segmented', 0)
    return root


def _add_object(
    root: ElementTree.Element,
    name: str,
    bbox: list[float],
    image: Mapping[str, Any],
) -> None:
    entry = ElementTree.SubElement(root, 'object')
    _add(entry, 'name', name)
    _add(entry, 'pose', 'Unspecified')
    _add(entry, 'truncated', 0)
    _add(entry, 'difficult', 0)
    corners = ElementTree.SubElement(entry, 'bndbox')
    x, y, w, h = bbox
    x1, x2 = _whole(x, x + w, image['width'])
    y1, y2 = _whole(y, y + h, image['height'])
    for key, value in (('xmin', x1), ('ymin', y1), ('xmax', x2), ('ymax', y2)):
        _add(corners, key, value)


def _whole(low: float, high: float, side: int) -> tuple[int, int]:
    """First and last pixel, counted from 1; at least one."""
    first = min(max(round(low) + 1, 1), side)
    return first, min(max(round(high), first), side)


def _add(parent: ElementTree.Element, key: str, value: object) -> None:
    ElementTree.SubElement(parent, key).text = str(value)
