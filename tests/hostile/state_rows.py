"""Checkpoints, configs inside them, score dumps, feature caches, saved results."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det.apis.detections import Detections
from fgclip2_det.engine.config import load_config
from fgclip2_det.engine.embedded_config import embedded_config
from fgclip2_det.engine.work_dir import last_checkpoint
from fgclip2_det.evaluation.comparison import read_result
from fgclip2_det.evaluation.few_names.asks_file import read_asks
from fgclip2_det.models.checkpoints import check_weights, read_checkpoint
from tests.hostile.rows import Row, table
from tests.hostile.text_rows import DEEP, DIGITS, write

NET = nn.Linear(3, 2)


class _Runs:
    """Unpickling it would call ``print``, were it allowed."""

    def __reduce__(self):
        return print, ('a checkpoint has run',)


def _checkpoint(folder: Path, content: object) -> object:
    """Written, read, and its weights checked against a small model."""
    path = folder / 'epoch_1.pth'
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    checkpoint = read_checkpoint(path)
    check_weights(NET, checkpoint.get('state_dict', checkpoint), path)
    return checkpoint


def _saved(**changes) -> dict:
    weights = {'weight': torch.ones(2, 3), 'bias': torch.zeros(2)}
    return {'meta': {'epoch': 1}, 'state_dict': weights | changes}


def _bytes(content: object) -> bytes:
    buffer = BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _legacy(content: object) -> bytes:
    buffer = BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def _zip(**files: bytes) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, 'w') as file:
        for name, data in files.items():
            file.writestr(f'archive/{name}', data)
    return buffer.getvalue()


CHECKPOINTS = {
    'fine': (_saved(), None),
    'weights alone': (_saved()['state_dict'], None),
    'legacy format': (_legacy(_saved()), None),
    'half precision': (
        _saved(weight=torch.ones(2, 3).half(), bias=torch.zeros(2).half()), None,
    ),
    'unknown entries': (_saved(ema=torch.ones(7)), None),
    'empty': (b'', 'not a readable checkpoint'),
    'text': (b'hello', 'epoch_1.pth'),
    'half': (_bytes(_saved())[:700], 'not a readable checkpoint'),
    'legacy half': (_legacy(_saved())[:300], 'epoch_1.pth'),
    'zip of nothing': (_zip(), 'not a readable checkpoint'),
    'zip of text': (_zip(**{'data.pkl': b'hello', 'version': b'3\n'}), 'epoch_1.pth'),
    'safetensors': ((2).to_bytes(8, 'little') + b'{}', 'epoch_1.pth'),
    'call': (_bytes({'state_dict': {'a': _Runs()}}), 'print'),
    'call of os': (pickle.dumps(os.getcwd), 'not a readable checkpoint'),
    'plain pickle of a call': (b'cposix\nsystem\n(S"true"\ntR.', 'epoch_1.pth'),
    'module': (_bytes({'model': nn.Linear(1, 1)}), 'Linear'),
    'path': (_bytes({'meta': {'file': Path('a')}}), 'epoch_1.pth'),
    'lambda by name': (_bytes({'a': len}), 'len'),
    'list': ([1, 2], 'expected a dict'),
    'tensor': (torch.ones(2), 'expected a dict'),
    'null': (None, 'expected a dict'),
    'state_dict list': ({'state_dict': []}, 'state_dict is not a dict'),
    'state_dict null': ({'state_dict': None}, 'state_dict is not a dict'),
    'meta text': (_saved() | {'meta': 'x'}, 'meta is not a dict'),
    'weight: missing': ({'state_dict': {'bias': torch.zeros(2)}}, 'weight is missing'),
    'weight: another shape': (_saved(weight=torch.ones(3, 2)), 'weight is (3, 2)'),
    'weight: a number': (_saved(weight=3), 'holds no weights'),
    'weight: null': (_saved(weight=None), 'holds no weights'),
    'weight: a list': (_saved(weight=[1.0]), 'holds no weights'),
    'weight: a name that is a number': (_saved() | {'state_dict': {3: NET.weight.data}},
                                        'epoch_1.pth'),
    'weight: nan': (_saved(weight=torch.full((2, 3), float('nan'))), 'weight holds'),
    'weight: infinite': (_saved(weight=torch.ones(2, 3) / 0), 'weight holds'),
    'weight: int8': (_saved(weight=torch.ones(2, 3, dtype=torch.int8)), 'int8'),
    'weight: int64': (_saved(weight=torch.ones(2, 3, dtype=torch.int64)), 'int64'),
    'weight: uint8': (_saved(weight=torch.ones(2, 3, dtype=torch.uint8)), 'uint8'),
    'weight: bool': (_saved(weight=torch.ones(2, 3, dtype=torch.bool)), 'bool'),
    'weight: complex': (
        _saved(weight=torch.ones(2, 3, dtype=torch.complex64)), 'complex64',
    ),
    'weight: float8': (
        _saved(weight=torch.ones(2, 3).to(torch.float8_e4m3fn)), 'float8_e4m3fn',
    ),
    'weight: quantised': (
        _saved(weight=torch.quantize_per_tensor(torch.ones(2, 3), 1, 0, torch.qint8)),
        'qint8',
    ),
    'weight: sparse': (_saved(weight=torch.ones(2, 3).to_sparse()), 'sparse'),
    'weight: on meta': (_saved(weight=torch.ones(2, 3, device='meta')), 'meta'),
}  # fmt: skip


def _no_file(folder: Path, make) -> object:
    path = folder / 'epoch_1.pth'
    make(path)
    return read_checkpoint(path)


CHECKPOINT_PLACES = {
    'missing': (lambda path: None, 'there is no checkpoint'),
    'folder': (Path.mkdir, 'there is no checkpoint'),
    'pipe': (os.mkfifo, 'pipe'),
    'device': (lambda path: path.symlink_to('/dev/zero'), 'device'),
}


def _pointer(folder: Path, content: bytes) -> object:
    write(folder, 'last_checkpoint', content)
    return last_checkpoint(folder)


POINTERS = {
    'missing file': (b'gone.pth', 'gone.pth'),
    'zeros': (b'\0\0', 'last_checkpoint'),
    'random bytes': (b'\xff\xfe\x80', 'last_checkpoint'),
    '10,000 letters': (b'x' * 10_000, 'last_checkpoint'),
    'empty': (b'', None),
}
# ------------------------------------------------------- configs inside a checkpoint
PIPELINE = (
    "test_dataloader = dict(dataset=dict(pipeline=[dict(type='PackDetInputs')]))\n"
)


def _embedded(folder: Path, model: str) -> object:
    return embedded_config(f'model = {model}\n{PIPELINE}', folder / 'epoch_1.pth')


def _detector(more: str) -> str:
    return f"dict(type='RetinaNet', {more})"


EMBEDDED = {
    'fine': (_detector("neck=dict(type='FPN')"), None),
    'scope': (_detector("_scope_='marker'"), '_scope_'),
    'base': (_detector("neck=dict(_base_='a.py')"), '_base_'),
    'custom imports': (_detector("custom_imports=dict(imports=['a'])"), 'custom_im'),
    'default scope': (_detector("default_scope='a'"), 'default_scope'),
    'dotted type': ("dict(type='os.system')", 'not registered'),
    'type of the standard library': ("dict(type='subprocess.Popen')", 'not registered'),
    'type a list': ("dict(type=['RetinaNet'])", 'config=FILE'),
    'type a number': ('dict(type=3)', 'not registered'),
    'type empty': ("dict(type='')", 'not registered'),
    'type null': ('dict(type=None)', 'not registered'),
    'type in another case': ("dict(type='retinanet')", 'not registered'),
    'a hook': ("dict(type='EMAHook')", 'not registered'),
    'a runner': ("dict(type='Runner')", 'not registered'),
    'a data set': (_detector("data=dict(type='CocoDataset')"), 'not registered'),
    'detector file': ("dict(type='FGCLIP2Rescorer', detector='a.py')", 'to run'),
    'teacher file': (_detector("teacher_config='a.py'"), 'to run'),
    'pickle': (_detector("extra='a.pkl'"), 'to run'),
    'pickle in capitals': (_detector("extra='A.PTH'"), 'to run'),
    'url': (_detector("extra='https://example.org/a'"), 'to run'),
    's3 address': (_detector("extra=['s3://bucket/a']"), 'to run'),
    'encoder of a stranger': (_detector("encoder='someone/else'"), 'an encoder from'),
    'encoder one up': (_detector("text=dict(pretrained='../x')"), 'an encoder from'),
    'call': (_detector("neck=__import__('os')"), 'config=FILE'),
    'call of eval': (_detector("neck=eval('1')"), 'config=FILE'),
    'attribute': (_detector('neck=dict.__class__'), 'config=FILE'),
    'lambda': (_detector('neck=lambda: 1'), 'config=FILE'),
    'comprehension': (_detector('neck=[i for i in (1,)]'), 'config=FILE'),
    'f-string': (_detector("neck=f'{1}'"), 'config=FILE'),
    'power': (_detector('neck=9**9**9'), 'config=FILE'),
    'star': (_detector('**{"a": open}'), 'config=FILE'),
    'a name': (_detector('neck=open'), 'config=FILE'),
    'list 400 deep': ('[' * 400 + ']' * 400, 'config=FILE'),
    'dict 300 deep': ('dict(a=' * 300 + '1' + ')' * 300, 'config=FILE'),
    'sum of 20,000': (_detector('x=' + '1+' * 20_000 + '1'), 'config=FILE'),
    'signs of 20,000': (_detector('x=' + '-' * 20_000 + '1'), 'config=FILE'),
    'number of 5,000 digits': (_detector(f'x={DIGITS}'), 'config=FILE'),
    'zero character': (_detector("x='a\0b'"), 'config=FILE'),
    'not complete': ("dict(type='RetinaNet'", 'config=FILE'),
    'a model list': ('[1]', None),
    'keys that are numbers': ('{1: 2}', None),
    'set of dicts': ('{dict(a=1)}', None),
}  # fmt: skip


def _config(folder: Path, given: tuple) -> object:
    name, content = given
    cfg = load_config(write(folder, name, content))
    assert not (folder / 'ran').exists()
    return cfg


def _yaml_tag(folder: Path, tag: str) -> object:
    text = f'model:\n  type: RetinaNet\n  x: {tag}\n'.replace('RAN', str(folder / 'r'))
    try:
        return load_config(write(folder, 'a.yaml', text))
    finally:
        assert not (folder / 'r').exists(), 'the tag has run'


TAGS = {
    'tag calls': ("!!python/object/apply:builtins.open ['RAN', 'w']", 'a.yaml'),
    'tag makes an object': (
        '!!python/object/new:pathlib.Path [RAN]', 'a.yaml',
    ),
    'tag names a function': ("!!python/name:os.getcwd ''", 'a.yaml'),
    'tag names a module': ("!!python/module:os ''", 'a.yaml'),
    'tag of its own': ('!evil x', 'a.yaml'),
}  # fmt: skip


def _bomb(levels: int) -> str:
    lines = ['a0: &a0 [x, y]']
    for n in range(1, levels):
        lines.append(f'a{n}: &a{n} [{", ".join([f"*a{n - 1}"] * 9)}]')
    return '\n'.join([*lines, 'model: {type: RetinaNet}'])


CONFIGS = {
    'yaml': (('a.yaml', 'model: {type: RetinaNet}'), None),
    'json': (('a.json', {'model': {'type': 'RetinaNet'}}), None),
    'python': (('a.py', "model = dict(type='RetinaNet')"), None),
    'yaml: no model': (('a.yaml', 'x: 1'), 'a.yaml'),
    'yaml: a list': (('a.yaml', '[1]'), 'a.yaml'),
    'yaml: empty': (('a.yaml', ''), 'a.yaml'),
    'yaml: not yaml': (('a.yaml', 'model: ['), 'a.yaml'),
    'yaml: aliases of 9 levels': (('a.yaml', _bomb(9)), 'a.yaml'),
    'yaml: aliases of 30 levels': (('a.yaml', _bomb(30)), 'a.yaml'),
    'yaml: alias of itself': (('a.yaml', 'model: &a [*a]'), 'a.yaml'),
    'yaml: 5,000 deep': (('a.yaml', 'model: ' + '[' * 5000 + ']' * 5000), 'a.yaml'),
    'yaml: base that is python': (
        ('a.yaml', '_base_: b.py\nmodel: {type: RetinaNet}'), 'a.yaml',
    ),
    'json: base that is python': (
        ('a.json', {'_base_': 'b.py', 'model': {'type': 'RetinaNet'}}), 'a.json',
    ),
    'json: a list': (('a.json', []), 'a.json'),
    'json: empty': (('a.json', ''), 'a.json'),
    'json: 100,000 deep': (('a.json', b'{"model": ' + b'[' * DEEP), 'a.json'),
    'json: number of 5,000 digits': (
        ('a.json', f'{{"model": {DIGITS}}}'), 'a.json',
    ),
    'python: 1 / 0': (('a.py', 'model = 1 / 0'), 'a.py'),
    'python: cut': (('a.py', 'model = dict('), 'a.py'),
    'python: nested 300 deep': (('a.py', 'model = ' + '[' * 300), 'a.py'),
    'python: sum of 20,000': (('a.py', 'model = ' + '1+' * 20_000 + '1'), 'a.py'),
    'python: zeros': (('a.py', bytes(9)), 'a.py'),
    'hooks number': (('a.py', 'model = {}\ncustom_hooks = 3'), 'custom_hooks'),
    'hooks of text': (('a.py', "model = {}\ncustom_hooks = ['a']"), 'custom_hooks'),
    'hook without a type': (('a.py', 'model = {}\ncustom_hooks = [{}]'), 'a.py'),
    'another ending': (('a.txt', 'model = {}'), 'a.txt'),
}  # fmt: skip


# ---------------------------------------------------------------------- saved results
def _detections(**changes) -> dict:
    kept = dict(image='a.png', classes=['cat', 'dog'], names=['cat'], labels=[0],
                scores=[0.5], bboxes=[[1, 2, 3, 4]])  # fmt: skip
    return kept | changes


def _from_json(folder: Path, content: object) -> object:
    text = content if isinstance(content, str) else json.dumps(content)
    return Detections.from_json(text)


DETECTIONS = {
    'fine': (_detections(), None),
    'none': (_detections(labels=[], scores=[], bboxes=[]), None),
    'empty': ('', 'no JSON'),
    'list': ([], 'to_dict'),
    'number': ('3', 'to_dict'),
    '100,000 deep': ('[' * DEEP, 'nested too deeply'),
    'number of 5,000 digits': (f'{{"classes": {DIGITS}}}', 'digits'),
    'classes null': (_detections(classes=None), 'classes'),
    'classes text': (_detections(classes='ab'), 'classes'),
    'classes numbers': (_detections(classes=[1, 2]), 'classes'),
    'labels null': (_detections(labels=None), 'labels'),
    'label text': (_detections(labels=['0']), 'labels'),
    'label 1.5': (_detections(labels=[1.5]), 'labels'),
    'label true': (_detections(labels=[True]), 'labels'),
    'label 9': (_detections(labels=[9]), 'labels'),
    'label of 400 digits': (_detections(labels=[int('9' * 400)]), 'labels'),
    'score text': (_detections(scores=['0.5']), 'scores'),
    'score null': (_detections(scores=[None]), 'scores'),
    'score nan': (_detections(scores=[float('nan')]), 'scores'),
    'score of 400 digits': (_detections(scores=[int('9' * 400)]), 'scores'),
    'scores object': (_detections(scores={'0': 1}), 'scores'),
    'box of three': (_detections(bboxes=[[1, 2, 3]]), 'boxes'),
    'box number': (_detections(bboxes=[3]), 'boxes'),
    'box text': (_detections(bboxes=['1234']), 'boxes'),
    'box nan': (_detections(bboxes=[[1, 2, float('nan'), 4]]), 'boxes'),
    'box object': (_detections(bboxes=[{'a': 1, 'b': 2, 'c': 3, 'd': 4}]), 'boxes'),
    'boxes null': (_detections(bboxes=None), 'boxes'),
    'image number': (_detections(image=3), 'image'),
}


def _metrics(folder: Path, content: object) -> object:
    return read_result(write(folder, 'm.json', content))


METRICS = {
    'fine': ({'metrics': {'ap': 0.5}, 'protocol': {}}, None),
    'list': ([], 'm.json'),
    'no protocol': ({'metrics': {}}, 'm.json'),
    'metrics list': ({'metrics': [], 'protocol': {}}, 'm.json'),
    'metric text': ({'metrics': {'ap': 'high'}, 'protocol': {}}, 'ap'),
    'metric list': ({'metrics': {'ap': [1]}, 'protocol': {}}, 'ap'),
    'metric true': ({'metrics': {'ap': True}, 'protocol': {}}, 'ap'),
}


def _asks(folder: Path, change) -> object:
    from fgclip2_det.io.digests import file_digest

    ann = write(folder, 'ann.json', {})
    ask = dict(id=0, image_id=1, file_name='a.jpg', names=['cat'], category_ids=[1],
               k=1)  # fmt: skip
    content = {'annotations': {'file': 'ann.json', 'sha256': file_digest(ann)},
               'draw': {}, 'asks': [ask | change]}  # fmt: skip
    return read_asks(write(folder, 'asks.json', content), ann)


ASKS = {
    'fine': ({}, None),
    'id text': ({'id': 'x'}, 'id'),
    'names text': ({'names': 'cat'}, 'names'),
    'names numbers': ({'names': [3]}, 'names'),
    'names two': ({'names': ['a', 'b']}, 'ask 0'),
    'ids of lists': ({'category_ids': [[1]]}, 'category_ids'),
    'ids none': ({'category_ids': [], 'names': []}, 'ask 0'),
    'k 0': ({'k': 0}, 'k'),
    'k text': ({'k': 'many'}, 'k'),
    'k true': ({'k': True}, 'k'),
    'key more': ({'more': 1}, 'ask 0'),
}
ROWS: list[Row] = [
    *table('checkpoint', _checkpoint, CHECKPOINTS, 'epoch_1.pth'),
    *table('config in a checkpoint', _embedded, EMBEDDED, 'epoch_1.pth'),
    *table('asks', _asks, ASKS, 'asks.json'),
    *table('checkpoint place', _no_file, CHECKPOINT_PLACES, 'epoch_1.pth'),
    *table('last checkpoint', _pointer, POINTERS),
    *table('config file', _config, CONFIGS),
    *table('yaml tag', _yaml_tag, TAGS),
    *table('detections', _from_json, DETECTIONS),
    *table('metrics file', _metrics, METRICS, 'm.json'),
]
