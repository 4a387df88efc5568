"""Own data as COCO files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fgclip2_det.coco.annotation_file import parse_coco
from fgclip2_det.io.json_writing import coco_pieces, write_text_pieces

from .records import OwnData, OwnImage

_DIGITS = 4  # of a pixel


def as_coco(
    data: OwnData, images: Sequence[OwnImage], base: str = ''
) -> dict[str, Any]:
    """Content of a COCO file; ids count from 1, and ``ignore: 1`` becomes a crowd.

    Args:
        data: gives the classes.
        images: with files and sizes.
        base: folder that goes before the file names.
    """
    ids = {name: i for i, name in enumerate(data.names, 1)}
    content: dict[str, Any] = {'images': [], 'annotations': []}
    for number, image in enumerate(images, 1):
        width, height = image.size or (0, 0)
        name = os.path.join(base, image.path or '').replace(os.sep, '/')
        own = dict(id=number, file_name=name, width=int(width), height=int(height))
        lists = {
            key: [ids[name] for name in names if name in ids]
            for key, names in image.classes.items()
        }
        content['images'].append({**image.extra, **lists, **own})
        for box in image.boxes:
            bbox = [round(side, _DIGITS) for side in box.bbox]
            entry = dict(
                id=len(content['annotations']) + 1, image_id=number,
                category_id=ids[box.name], bbox=bbox,
            )  # fmt: skip
            plain = dict(area=round(bbox[2] * bbox[3], _DIGITS), iscrowd=0)
            own = {**plain, **box.extra, **entry}
            if own.pop('ignore', 0):  # which data sets of MMDetection leave out
                own['iscrowd'] = 1
            content['annotations'].append(own)
    content['categories'] = [
        {**category, 'id': i} for i, category in enumerate(data.categories, 1)
    ]
    return content


def write_coco(content: dict[str, Any], target: Path) -> None:
    """Write content, after the checks that every reader of COCO makes.

    Raises:
        InputError: naming the file: content that no reader would take.
    """
    parse_coco(content, target)
    write_text_pieces(target, coco_pieces(content))
