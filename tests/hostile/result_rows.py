"""Result lists, protocols and pickles of MMDetection."""

from __future__ import annotations

import json
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

from fgclip2_det.coco.ground_truths import read_truths
from fgclip2_det.coco.predictions import read_predictions
from fgclip2_det.coco.result_lists import read_results, stream_rows
from fgclip2_det.evaluation import evaluate_file
from tests.hostile.annotation_rows import HUGE, MASKS, coco, without
from tests.hostile.rows import Row, table
from tests.hostile.text_rows import DEEP, DIGITS, write

# --------------------------------------------------------------------- result lists
ROW = {'image_id': 1, 'category_id': 1, 'bbox': [1.0, 2, 30, 40], 'score': 0.5}


def _results(folder: Path, rows: object) -> object:
    truths = read_truths(write(folder, 'ann.json', coco()))
    return read_results(write(folder, 'dt.json', rows), truths)


def _one(**changes) -> list:
    return [ROW, ROW | {'score': 0.4} | changes]


RESULTS = {
    'fine': ([ROW], None),
    'none': ([], None),
    'score 1 + 2 ** -10': (_one(score=1 + 2**-10), None),
    'object': ({}, 'must be a JSON list'),
    'coco file': (coco(), 'must be a JSON list'),
    'empty file': (b'', 'must be a JSON list'),
    'row null': ([ROW, None], 'row 1'),
    'row list': ([ROW, [1]], 'row 1'),
    'no image': ([without(ROW, 'image_id')], 'image_id'),
    'no category': ([without(ROW, 'category_id')], 'category_id'),
    'no bbox': ([without(ROW, 'bbox')], 'bbox'),
    'no score': ([without(ROW, 'score')], 'score'),
    'image unknown': (_one(image_id=9), 'image 9'),
    'image true': (_one(image_id=True), 'image True'),
    'image null': (_one(image_id=None), 'image None'),
    'image list': (_one(image_id=[1]), 'image [1]'),
    'image object': (_one(image_id={}), 'row 1'),
    'image text': (_one(image_id='1'), "image '1'"),
    'category unknown': (_one(category_id=0), 'category 0'),
    'category true': (_one(category_id=True), 'category True'),
    'category object': (_one(category_id={}), 'row 1'),
    'score true': (_one(score=True), 'score'),
    'score text': (_one(score='0.5'), 'score'),
    'score null': (_one(score=None), 'score'),
    'score nan': (_one(score=float('nan')), 'score'),
    'score infinite': (_one(score=float('inf')), 'score'),
    'score -0.1': (_one(score=-0.1), 'score'),
    'score 1.01': (_one(score=1.01), 'score'),
    'score 97': (_one(score=97), 'score'),
    'score of 400 digits': (_one(score=HUGE), 'score'),
    'score list': (_one(score=[0.5]), 'score'),
    'bbox of three': (_one(bbox=[1, 2, 3]), 'bbox'),
    'bbox text': (_one(bbox='1,2,3,4'), 'bbox'),
    'bbox with text': (_one(bbox=[1, 2, '3', 4]), 'bbox'),
    'bbox with true': (_one(bbox=[1, 2, True, 4]), 'bbox'),
    'bbox nan': (_one(bbox=[1, 2, float('nan'), 4]), 'bbox'),
    'bbox negative': (_one(bbox=[1, 2, -3, 4]), 'bbox'),
    'bbox of 400 digits': (_one(bbox=[1, 2, HUGE, 4]), 'bbox'),
    'bbox nested': (_one(bbox=[[1, 2, 3, 4]]), 'bbox'),
    'bbox object': (_one(bbox={'0': 1}), 'bbox'),
    'row twice': ([ROW, ROW], 'two rows are the same'),
    'other file name': (_one(file_name='z.jpg'), 'z.jpg'),
    'other category name': (_one(category_name='cow'), 'cow'),
    'cut': (json.dumps([ROW, ROW])[:-9], 'row 1'),
    '100,000 deep': (b'[' * DEEP, 'nested too deeply'),
    'number of 5,000 digits': (f'[{{"image_id": {DIGITS}}}]', 'digits'),
    'jsonl': (f'{json.dumps(ROW)}\n{json.dumps(ROW)}', 'must be a JSON list'),
    'zeros': (bytes(30), 'dt.json'),
}


def _masked(folder: Path, segmentation: object) -> object:
    truths = read_truths(write(folder, 'ann.json', coco()))
    rows = [ROW | {'segmentation': segmentation}]
    return read_results(write(folder, 'dt.json', rows), truths, ('segm',))


MASKED = {name: (given, words) for name, (given, words) in MASKS.items()
          if name in ('runs', 'null', 'rle of another size', 'rle of few pixels',
                      'rle counts open', 'rle run is a text', 'text')}  # fmt: skip


def _stream(folder: Path, row: object) -> object:
    path = write(folder, 'dt.json', [ROW, row])
    return list(stream_rows(path, ('image_id', 'bbox', 'score')))


STREAM = {
    'null': (None, 'row 1'),
    'image true': (ROW | {'image_id': True}, 'image_id'),
    'image object': (ROW | {'image_id': {}}, 'image_id'),
    'score true': (ROW | {'score': True}, 'score'),
    'no bbox': (without(ROW, 'bbox'), 'bbox'),
}


def _protocol(folder: Path, given: dict) -> object:
    ann, rows = write(folder, 'ann.json', coco()), write(folder, 'dt.json', [ROW])
    return evaluate_file(given.pop('protocol', 'coco'), ann, rows, **given)


PROTOCOLS = {
    'unknown': ({'protocol': 'voc'}, 'protocol must be one of'),
    'base of coco': ({'base': ['cat']}, 'belong to ov-coco'),
    'novel unknown': ({'protocol': 'ov-coco', 'novel': ['cow']}, 'cow'),
    'novel a text': ({'protocol': 'ov-coco', 'novel': 'cat'}, 'novel'),
    'novel all': ({'protocol': 'ov-coco', 'novel': ['cat', 'dog']}, None),
    'lvis of a coco file': ({'protocol': 'lvis'}, 'LVIS'),
    'iou type': ({'iou_types': ('keypoints',)}, 'keypoints'),
    'ids': ({'ids': 'name'}, 'ids must be one of'),
    'categories': ({'categories': 'from-0'}, 'categories must be one of'),
    'an option of another protocol': ({'num_negatives': 3}, 'num_negatives'),
    'image ids missing': ({'image_ids': '/nowhere.json'}, '/nowhere.json'),
}


# --------------------------------------------------------------- MMDetection's pickles
class _Runs:
    """Unpickling it would call ``print``, were it allowed."""

    def __reduce__(self):
        return print, ('a pickle has run',)


def instances(**changes) -> dict:
    kept = dict(
        bboxes=torch.tensor([[1.0, 2, 30, 40]]), scores=torch.tensor([0.5]),
        labels=torch.tensor([0]),
    )  # fmt: skip
    return {'img_id': 1, 'pred_instances': kept | changes}


def _pickle(folder: Path, content: object) -> object:
    data = content if isinstance(content, bytes) else pickle.dumps(content)
    path = write(folder, 'dt.pkl', data)
    ann = write(folder, 'ann.json', coco())
    return read_predictions(path, ann, unpickle=True, label_order='file')


PICKLES = {
    'fine': ([instances()], None),
    'arrays': ([instances(bboxes=np.ones((1, 4)))], None),
    'empty': (b'', 'dt.pkl'),
    'cut': (pickle.dumps([instances()])[:-20], 'dt.pkl'),
    'text': (b'hello', 'dt.pkl'),
    'dict': ({'a': 1}, 'must hold a list'),
    'call': ([_Runs()], 'builtins.print'),
    'call of os': (b'cposix\nsystem\n(S"true"\ntR.', 'posix.system'),
    'lambda': (pickle.dumps([OrderedDict, _Runs]), 'dt.pkl'),
    'persistent id': (b'\x80\x02Pa\n.', 'dt.pkl'),
    'attribute by extension': (b'\x80\x02\x82\x01.', 'dt.pkl'),
    'memo missing': (b'h\x05.', 'dt.pkl'),
    'place 2 ** 31 of the memo': (b'\x80\x02]r\xff\xff\xff\x7f.', 'dt.pkl'),
    'long of 2 ** 31 bytes': (b'\x80\x02\x8b\xff\xff\xff\x7f', 'dt.pkl'),
    'bytes of 2 ** 62': (b'\x80\x04\x8e' + (2**62).to_bytes(8, 'little'), 'dt.pkl'),
    'list in itself': (b'\x80\x02]q\0h\0a.', 'image 0'),
    'lists in lists': (b'\x80\x02' + b']' * 5 + b'a' * 4 + b'.', 'image 0'),
    'entry: null': ([None], 'image 0'),
    'entry: no boxes': ([{'img_id': 1}], 'image 0'),
    'boxes: three columns': ([instances(bboxes=torch.ones(1, 3))], 'image 0'),
    'boxes: text': ([instances(bboxes='x')], 'image 0'),
    'boxes: complex': (
        [instances(bboxes=torch.ones(1, 4, dtype=torch.complex64))], 'dt.pkl',
    ),
    'boxes: nan': ([instances(bboxes=torch.full((1, 4), float('nan')))], 'bbox'),
    'scores: two': ([instances(scores=torch.ones(2))], 'image 0'),
    'scores: bool': ([instances(scores=torch.ones(1, dtype=torch.bool))], 'score'),
    'labels: 9': ([instances(labels=torch.tensor([9]))], 'dt.pkl'),
    'labels: -1': ([instances(labels=torch.tensor([-1]))], 'image 0'),
    'labels: float': ([instances(labels=torch.tensor([0.5]))], 'image 0'),
    'labels: bool': ([instances(labels=torch.tensor([True]))], 'image 0'),
    'image id: list': ([instances() | {'img_id': [1]}], 'dt.pkl'),
    'image id: tensor': ([instances() | {'img_id': torch.tensor(1)}], 'dt.pkl'),
}  # fmt: skip


ROWS: list[Row] = [
    *table('result list', _results, RESULTS, 'dt.json'),
    *table('result mask', _masked, MASKED, ('dt.json', 'row 0')),
    *table('result stream', _stream, STREAM, ('dt.json', 'row 1')),
    *table('protocol', _protocol, PROTOCOLS),
    *table('result pickle', _pickle, PICKLES, 'dt.pkl'),
]
