"""What the tests of labels share."""

import json
import os
from pathlib import Path

import numpy as np

from fgclip2_det import OpenVocabInferencer

ONTOLOGY = """
classes:
  circle: {prompts: [red circle, 红色圆形], name_zh: 圆形}
  蓝色正方形: [blue square, 蓝色正方形]
  star: {prompts: [yellow star], negatives: [yellow ring]}
"""
FORMATS = 'coco', 'yolo', 'voc', 'odvg', 'labelme'
UNREAD = 'bad.jpg'


class Remembering(OpenVocabInferencer):
    """The embedded detector, which looks at an image once for all tests."""

    def __init__(self) -> None:
        super().__init__(cache_size=0)
        self.known = {}

    def _detect(self, batch, score_thr):
        for each in batch:
            names = tuple(map(tuple, self.vocabulary.aliases))
            key = names, each.outcome.image.tobytes(), score_thr
            if key not in self.known:
                super()._detect([each], score_thr)
                self.known[key] = each.outcome.detections
            each.outcome.detections = self.known[key]


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path; links by where they lead."""
    return {
        str(path.relative_to(folder)): os.readlink(path).encode()
        if path.is_symlink()
        else path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }


def read(path: Path) -> dict:
    return json.loads(path.read_text('utf-8'))


def corners(coco: dict) -> dict[str, list]:
    """Image -> (name, xyxy) of its boxes, from left to right."""
    names = {each['id']: each['name'] for each in coco['categories']}
    found = {each['file_name']: [] for each in coco['images']}
    images = {each['id']: each['file_name'] for each in coco['images']}
    for each in coco['annotations']:
        x, y, w, h = each['bbox']
        row = names[each['category_id']], [x, y, x + w, y + h]
        found[images[each['image_id']]].append(row)
    return {image: sorted(rows, key=lambda r: r[1]) for image, rows in found.items()}


def assert_same(actual: dict, expected: dict, atol: float) -> None:
    assert actual.keys() == expected.keys()
    for image, rows in expected.items():
        assert [name for name, _ in actual[image]] == [name for name, _ in rows]
        for (_, box), (_, own) in zip(actual[image], rows, strict=True):
            np.testing.assert_allclose(box, own, atol=atol)
