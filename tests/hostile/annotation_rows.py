"""COCO and LVIS annotation files, result lists, pickles of MMDetection, ODVG."""

from __future__ import annotations

import json
from pathlib import Path

from fgclip2_det.coco.annotation_file import read_coco, stream_coco
from fgclip2_det.coco.categories import read_categories
from fgclip2_det.coco.ground_truths import read_truths
from tests.hostile.rows import Row, table
from tests.hostile.text_rows import DEEP, DIGITS, write

HUGE = int('9' * 400)  # beyond what floating point holds


def coco(**changes) -> dict:
    """Two images, two categories, two boxes."""
    return {
        'images': [image(), image(id=2, file_name='b.jpg')],
        'categories': [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'dog'}],
        'annotations': [box(), box(id=2)],
    } | changes


def image(**changes) -> dict:
    return {'id': 1, 'file_name': 'a.jpg', 'width': 100, 'height': 80} | changes


def box(**changes) -> dict:
    kept = {'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [1, 2, 30, 40],
            'area': 1200, 'iscrowd': 0}  # fmt: skip
    return kept | changes


def second(**changes) -> dict:
    return coco(annotations=[box(), box(id=2) | changes])


def without(entry: dict, key: str) -> dict:
    return {k: v for k, v in entry.items() if k != key}


def _coco(folder: Path, content: object) -> object:
    return read_coco(write(folder, 'ann.json', content))


WHOLE = {
    'fine': (coco(), None),
    'no annotations': (coco(annotations=[]), None),
    'no images': (coco(images=[], annotations=[]), None),
    'a list': ([], 'must be a JSON object'),
    'a number': (3, 'must be a JSON object'),
    'null': (None, 'must be a JSON object'),
    'empty object': ({}, 'images'),
    'result list': ([{'image_id': 1}], 'must be a JSON object'),
    'images: null': (coco(images=None), 'images'),
    'images: object': (coco(images={}), 'images'),
    'images: text': (coco(images='ab'), 'images'),
    'categories: null': (coco(categories=None), 'categories'),
    'annotations: number': (coco(annotations=3), 'annotations'),
    'annotations: missing': (without(coco(), 'annotations'), 'annotations'),
    'keys in capitals': ({k.upper(): v for k, v in coco().items()}, 'images'),
    '100,000 deep': (b'{"images": ' + b'[' * DEEP, 'nested too deeply'),
    'number of 5,000 digits': (f'{{"images": [{{"id": {DIGITS}}}]}}', 'digits'),
    'cut': (json.dumps(coco())[:-30], 'cannot be read as JSON'),
}
ENTRIES = {
    'image: null': (coco(images=[None]), 'image entry 0'),
    'image: list': (coco(images=[[]]), 'image entry 0'),
    'image: no id': (coco(images=[without(image(), 'id')]), 'id'),
    'image: id null': (coco(images=[image(id=None)]), 'id'),
    'image: id 1.5': (coco(images=[image(id=1.5)]), 'id'),
    'image: id true': (coco(images=[image(id=True)]), 'id'),
    'image: id list': (coco(images=[image(id=[1])]), 'id'),
    'image: id object': (coco(images=[image(id={})]), 'id'),
    'image: id twice': (coco(images=[image(), image()]), 'occurs twice'),
    'image: ids of two kinds': (coco(images=[image(), image(id='2')]), 'all numbers'),
    'image: no name': (coco(images=[without(image(), 'file_name')]), 'file_name'),
    'image: name null': (coco(images=[image(file_name=None)]), 'file_name'),
    'image: name empty': (coco(images=[image(file_name='')]), 'file_name'),
    'image: name blank': (coco(images=[image(file_name=' ')]), 'file_name'),
    'image: name number': (coco(images=[image(file_name=7)]), 'file_name'),
    'image: name half a pair': (coco(images=[image(file_name='\ud800')]), 'file_name'),
    'image: width 0': (coco(images=[image(width=0)]), 'width'),
    'image: width negative': (coco(images=[image(width=-100)]), 'width'),
    'image: width nan': (coco(images=[image(width=float('nan'))]), 'width'),
    'image: width infinite': (coco(images=[image(width=float('inf'))]), 'width'),
    'image: width text': (coco(images=[image(width='100')]), 'width'),
    'image: width true': (coco(images=[image(width=True)]), 'width'),
    'image: width null': (coco(images=[image(width=None)]), 'width'),
    'image: width of 400 digits': (coco(images=[image(width=HUGE)]), 'width'),
    'image: no height': (coco(images=[without(image(), 'height')]), 'height'),
    'image: height list': (coco(images=[image(height=[80])]), 'height'),
    'category: null': (coco(categories=[None]), 'category entry 0'),
    'category: text': (coco(categories=['cat']), 'category entry 0'),
    'category: no name': (coco(categories=[{'id': 1}]), 'name'),
    'category: name empty': (coco(categories=[{'id': 1, 'name': ''}]), 'name'),
    'category: name number': (coco(categories=[{'id': 1, 'name': 5}]), 'name'),
    'category: id twice': (coco(categories=[{'id': 1, 'name': 'a'}] * 2), 'twice'),
    'category: id null': (coco(categories=[{'id': None, 'name': 'a'}]), 'id'),
    'box: null': (coco(annotations=[None]), 'annotation entry 0'),
    'box: number': (coco(annotations=[3]), 'annotation entry 0'),
    'box: id twice': (coco(annotations=[box(), box()]), 'occurs twice'),
    'box: unknown image': (second(image_id=9), 'image 9'),
    'box: image null': (second(image_id=None), 'image_id'),
    'box: image as text': (second(image_id='1'), "image '1'"),
    'box: image list': (second(image_id=[1]), 'image_id'),
    'box: unknown category': (second(category_id=9), 'category 9'),
    'box: category true': (second(category_id=True), 'category_id'),
    'box: category 1.0': (second(category_id=1.0), 'category_id'),
    'box: no bbox': (coco(annotations=[without(box(), 'bbox')]), 'bbox'),
    'box: bbox null': (second(bbox=None), 'bbox'),
    'box: bbox text': (second(bbox='1234'), 'bbox'),
    'box: bbox of three': (second(bbox=[1, 2, 3]), 'bbox'),
    'box: bbox of five': (second(bbox=[1, 2, 3, 4, 5]), 'bbox'),
    'box: bbox with text': (second(bbox=[1, 2, '3', 4]), 'bbox'),
    'box: bbox with null': (second(bbox=[1, 2, None, 4]), 'bbox'),
    'box: bbox with true': (second(bbox=[1, 2, True, 4]), 'bbox'),
    'box: bbox nan': (second(bbox=[1, 2, float('nan'), 4]), 'bbox'),
    'box: bbox infinite': (second(bbox=[float('-inf'), 2, 3, 4]), 'bbox'),
    'box: bbox of 400 digits': (second(bbox=[1, 2, HUGE, 4]), 'bbox'),
    'box: bbox 1e300': (second(bbox=[1, 2, 1e300, 4]), 'bbox'),
    'box: bbox negative side': (second(bbox=[1, 2, -3, 4]), 'bbox'),
    'box: bbox nested': (second(bbox=[[1, 2, 3, 4]]), 'bbox'),
    'box: bbox object': (second(bbox={'x': 1}), 'bbox'),
    'box: outside': (second(bbox=[500, 500, 5, 5]), 'outside'),
    'box: area negative': (second(area=-1), 'area'),
    'box: area nan': (second(area=float('nan')), 'area'),
    'box: area text': (second(area='12'), 'area'),
    'box: area of 400 digits': (second(area=HUGE), 'area'),
    'box: iscrowd 2': (second(iscrowd=2), 'iscrowd'),
    'box: iscrowd -1': (second(iscrowd=-1), 'iscrowd'),
    'box: iscrowd text': (second(iscrowd='0'), 'iscrowd'),
    'box: iscrowd nan': (second(iscrowd=float('nan')), 'iscrowd'),
    'box: iscrowd null': (second(iscrowd=None), 'iscrowd'),
    'box: iscrowd list': (second(iscrowd=[0]), 'iscrowd'),
    'box: ignore 7': (second(ignore=7), 'ignore'),
    'box: width 0': (second(bbox=[1, 2, 0, 4]), None),
    'box: reaches outside': (second(bbox=[90, 70, 20, 20]), None),
    'box: iscrowd true': (second(iscrowd=True), None),
    'box: area missing': (coco(annotations=[without(box(), 'area')]), None),
}


def _streamed(folder: Path, content: object) -> object:
    return list(stream_coco(write(folder, 'ann.json', content)))


STREAMED = {
    'images twice': (b'{"images": [], "images": []}', "'images' twice"),
    'annotation of an unknown image': (second(image_id=9), 'annotation 2'),
    'annotation of an unknown category': (second(category_id=9), 'annotation 2'),
    'annotations first': (dict(reversed(coco().items())), None),
    'images: object': (coco(images={}), 'images'),
    'no categories': (without(coco(), 'categories'), 'categories'),
    'entry null': (coco(annotations=[box(), None]), 'annotation entry 1'),
    'entry 100,000 deep': (b'{"images": [{"id": ' + b'[' * DEEP, 'nested too deeply'),
}


def _categories(folder: Path, content: object) -> object:
    return read_categories(write(folder, 'ann.json', content))


SEARCHED = {
    'the key in a text too': (
        {'info': '"categories": [3]', 'categories': [{'id': 1, 'name': 'a'}]}, None,
    ),
    'the key in an entry too': (
        {'images': [{'id': 1, 'categories': []}], 'categories': []}, None,
    ),
    'the list cut': (b'{"categories": [{"id": 1, "na', 'ann.json'),
    'the list deep': (b'{"categories": [' + b'[' * DEEP, 'nested too deeply'),
    'not utf-8': (b'{"categories": [{"id": 1, "name": "\xff\xfe"}]}', 'ann.json'),
    'empty file': (b'', 'ann.json'),
    'entries are numbers': (b'{"categories": [1, 2]}', 'category entry 0'),
}  # fmt: skip


def _masks(folder: Path, segmentation: object) -> object:
    content = coco(annotations=[box(segmentation=segmentation)])
    return read_truths(write(folder, 'ann.json', content), masks=True)


def _rle(counts: object, size: object = (80, 100)) -> dict:
    return {'size': list(size) if isinstance(size, tuple) else size, 'counts': counts}


MASKS = {
    'polygon': ([[1, 1, 9, 1, 9, 9]], None),
    'runs': (_rle([8000]), None),
    'null': (None, 'segmentation'),
    'text': ('x', 'segmentation'),
    'polygon of two points': ([[1, 1, 9, 1]], 'polygon 0'),
    'polygon of five numbers': ([[1, 1, 9, 1, 9]], 'polygon 0'),
    'polygon nan': ([[1, 1, 9, 1, 9, float('nan')]], 'polygon 0'),
    'polygon far away': ([[1, 1, 9, 1, 9, 1e12]], 'polygon 0'),
    'polygon with text': ([[1, 1, 9, 1, 9, '9']], 'polygon 0'),
    'polygon of points': ([[[1, 1], [9, 1], [9, 9]]], 'polygon 0'),
    'polygon with true': ([[1, 1, 9, 1, 9, True]], 'polygon 0'),
    'rle of another size': (_rle([8000], (100, 80)), 'its image has'),
    'rle of few pixels': (_rle([7999]), 'expected height x width'),
    'rle of many pixels': (_rle([2**31, 2**31]), 'expected height x width'),
    'rle negative run': (_rle([-1, 8001]), 'length of a run'),
    'rle run is a text': (_rle(['8000']), 'length of a run'),
    'rle run 1.5': (_rle([8000.0]), 'length of a run'),
    'rle counts null': (_rle(None), 'cannot be read'),
    'rle counts not ascii': (_rle('é' * 4), 'cannot be read'),
    'rle counts open': (_rle('oooooooooo'), 'cannot be read'),
    'rle counts empty': (_rle(''), 'expected height x width'),
    'rle without counts': ({'size': [80, 100]}, 'segmentation'),
    'rle size text': (_rle([8000], '80'), 'its image has'),
}


def _lvis(folder: Path, change: dict) -> object:
    extra = dict(neg_category_ids=[2], not_exhaustive_category_ids=[])
    content = coco(images=[image(**extra) | change.get('image', {})], annotations=[])
    content['categories'] = [
        {'id': 1, 'name': 'cat', 'frequency': 'r'} | change.get('category', {}),
        {'id': 2, 'name': 'dog', 'frequency': 'f'},
    ]
    return read_truths(write(folder, 'ann.json', content), federated=True)


LVIS = {
    'fine': ({}, None),
    'frequency x': ({'category': {'frequency': 'x'}}, 'frequency'),
    'frequency null': ({'category': {'frequency': None}}, 'frequency'),
    'frequency list': ({'category': {'frequency': ['r']}}, 'frequency'),
    'negatives null': ({'image': {'neg_category_ids': None}}, 'neg_category_ids'),
    'negatives unknown': ({'image': {'neg_category_ids': [9]}}, 'category 9'),
    'negatives 1.0': ({'image': {'neg_category_ids': [1.0]}}, 'category 1.0'),
    'negatives nested': ({'image': {'neg_category_ids': [[1]]}}, 'neg_category_ids'),
}

ROWS: list[Row] = [
    *table('annotation file', _coco, WHOLE | ENTRIES, 'ann.json'),
    *table('annotation stream', _streamed, STREAMED, 'ann.json'),
    *table('categories', _categories, SEARCHED, 'ann.json'),
    *table('mask', _masks, MASKS, ('ann.json', 'annotation 1')),
    *table('lvis file', _lvis, LVIS, 'ann.json'),
]
