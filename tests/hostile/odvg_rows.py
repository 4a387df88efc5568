"""ODVG lines, their label maps, and conversions both ways."""

from __future__ import annotations

from pathlib import Path

from fgclip2_det.prepare import coco_to_odvg, odvg_to_coco
from tests.hostile.annotation_rows import HUGE, coco, image, second, without
from tests.hostile.rows import Row, table
from tests.hostile.text_rows import DEEP, DIGITS, write


# ------------------------------------------------------------------------------- ODVG
def _to_odvg(folder: Path, content: object) -> object:
    path = write(folder, 'ann.json', content)
    return coco_to_odvg(path, folder / 'out.jsonl', folder / 'map.json')


TO_ODVG = {
    'fine': (coco(), None),
    'class name twice': (
        coco(categories=[{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'cat'}]),
        'both named',
    ),
    'class name twice but for case': (
        coco(categories=[{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'Cat '}]),
        'both named',
    ),
    'class name empty': (coco(categories=[{'id': 1, 'name': ''}]), 'name'),
    'class name blank': (coco(categories=[{'id': 1, 'name': ' '}]), 'name'),
    'class name number': (coco(categories=[{'id': 1, 'name': 3}]), 'name'),
    'box outside': (second(bbox=[500, 500, 5, 5]), 'annotation 2'),
    'no file name': (coco(images=[without(image(), 'file_name')]), 'file_name'),
}


def odvg(**changes) -> dict:
    detection = {'instances': [{'bbox': [1, 2, 3, 4], 'label': 0, 'category': 'cat'}]}
    kept = {'filename': 'a.jpg', 'height': 80, 'width': 100, 'detection': detection}
    return kept | changes


def _of(**changes) -> dict:
    entry = {'bbox': [1, 2, 3, 4], 'label': 0} | changes
    return odvg(detection={'instances': [entry]})


def _from_odvg(folder: Path, given: object) -> object:
    line, names = given if isinstance(given, tuple) else (given, {'0': 'cat'})
    path = write(folder, 'a.jsonl', line)
    return odvg_to_coco(path, write(folder, 'map.json', names), folder / 'out.json')


FROM_ODVG = {
    'fine': (odvg(), None),
    'a list': ([], 'line 1'),
    'no detection': ({'filename': 'a.jpg'}, 'line 1'),
    'caption': (odvg(grounding={}), 'line 1'),
    'file name number': (odvg(filename=3), 'line 1'),
    'file name empty': (odvg(filename=''), 'line 1'),
    'width 0': (odvg(width=0), 'width'),
    'width true': (odvg(width=True), 'width'),
    'width nan': (odvg(width=float('nan')), 'width'),
    'width infinite': (odvg(width=float('inf')), 'width'),
    'width of 400 digits': (odvg(width=HUGE), 'width'),
    'instances null': (odvg(detection={'instances': None}), 'instances'),
    'instances object': (odvg(detection={'instances': {}}), 'instances'),
    'crowd text': (odvg(detection={'crowd': 'x'}), 'crowd'),
    'box null': (odvg(detection={'instances': [None]}), 'box 0'),
    'bbox of three': (_of(bbox=[1, 2, 3]), 'box 0'),
    'bbox nan': (_of(bbox=[1, 2, float('nan'), 4]), 'box 0'),
    'bbox true': (_of(bbox=[1, True, 3, 4]), 'box 0'),
    'bbox of 400 digits': (_of(bbox=[1, 2, HUGE, 4]), 'box 0'),
    'bbox turned': (_of(bbox=[3, 2, 1, 4]), 'box 0'),
    'label 9': (_of(label=9), 'label 9'),
    'label text': (_of(label='0'), 'label'),
    'label true': ((_of(label=True), {'0': 'cat', '1': 'dog'}), 'label'),
    'label list': (_of(label=[0]), 'label'),
    'another category': (_of(category='dog'), 'dog'),
    'id list': (odvg(id=[1]), 'id'),
    'id object': (odvg(id={}), 'id'),
    'id true': (odvg(id=True), 'id'),
    'map: a list': ((odvg(), ['cat']), 'map.json'),
    'map: a number': ((odvg(), 3), 'map.json'),
    'map: label a word': ((odvg(), {'a': 'cat'}), 'map.json'),
    'map: label of 5,000 digits': ((odvg(), {DIGITS: 'cat'}), 'map.json'),
    'map: name number': ((odvg(), {'0': 3}), 'map.json'),
    'map: name twice': ((odvg(), {'0': 'cat', '1': 'cat'}), 'map.json'),
    'map: name blank': ((odvg(), {'0': 'cat', '1': ' '}), 'map.json'),
    'map: label twice': ((odvg(), {'0': 'cat', '00': 'dog'}), 'map.json'),
    'map: 100,000 deep': ((odvg(), b'[' * DEEP), 'map.json'),
    'map: empty': ((odvg(), b''), 'map.json'),
}
ROWS: list[Row] = [
    *table('coco to odvg', _to_odvg, TO_ODVG, 'ann.json'),
    *table('odvg to coco', _from_odvg, FROM_ODVG),
]
