"""Small files in the layout of COCO."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fgclip2_det.coco.published_splits import (
    OV_COCO_BASE_CLASSES,
    OV_COCO_NOVEL_CLASSES,
)

UNUSED = ('traffic light', 'stop sign')


def make_coco() -> dict:
    """Six images; the fifth has a box of an unused class alone, the sixth none."""
    names = [*UNUSED, *OV_COCO_NOVEL_CLASSES, *OV_COCO_BASE_CLASSES]
    ids = {name: 10 + 3 * i for i, name in enumerate(names)}
    boxes = [
        (1, 'person', [1.5, 2.25, 30.1, 40.2]),
        (2, 'cat', [0, 0, 10, 10]),
        (1, 'stop sign', [5, 5, 5, 5]),
        (3, 'person', [0.1, 0.2, 0.7, 9.3]),
        (3, 'dog', [3, 3, 33.33, 44.44]),
        (4, 'cup', [8, 8, 8, 8]),
        (5, 'traffic light', [9, 9, 9, 9]),
    ]
    return {
        'info': {'year': 2017, 'note': '说明'},
        'licenses': [{'id': 1, 'name': 'x'}],
        'images': [
            {
                'id': i,
                'file_name': f'{i:012d}.jpg',
                'coco_url': f'http://images.cocodataset.org/val2017/{i:012d}.jpg',
                'width': 160,
                'height': 96,
                'unknown': {'kept': [i]},
            }
            for i in (4, 2, 1, 3, 6, 5)
        ],
        'annotations': [
            {
                'id': 100 - i,
                'image_id': image,
                'category_id': ids[name],
                'bbox': bbox,
                'area': bbox[2] * bbox[3],
                'iscrowd': int(name == 'dog'),
                'unknown': i,
            }
            for i, (image, name, bbox) in enumerate(boxes)
        ],
        'categories': [
            {'id': ids[name], 'name': name, 'supercategory': 's'} for name in names
        ],
    }


@pytest.fixture
def coco() -> dict:
    return make_coco()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """write({...}, 'a.json') -> its path."""

    def write_json(content: object, name: str = 'source.json') -> Path:
        path = tmp_path / name
        path.write_text(json.dumps(content, ensure_ascii=False), encoding='utf-8')
        return path

    return write_json
