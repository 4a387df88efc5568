"""Score dumps and feature caches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det.datasets.feature_cache import FeatureCache, FeatureWriter
from fgclip2_det.rescoring.score_dump import (
    ImageScores,
    ScoreDump,
    write_names,
    write_shard,
)
from tests.hostile.rows import Row, table
from tests.hostile.text_rows import DEEP, DIGITS, write


# ------------------------------------------------------------------------------ dumps
def _header(**changes) -> dict:
    kept = dict(
        format=1, encoder='0' * 64, classes=['cat', 'dog'], category_ids=[1, 2],
        novel_classes=['dog'], language='en', templates=['{}'], max_num_patches=256,
        predictions_sha256='0' * 64, ann_sha256='0' * 64, num_images=1,
        images_per_shard=4,
    )  # fmt: skip
    return kept | changes


def _scores() -> ImageScores:
    return ImageScores(
        1, torch.tensor([[0.5, -0.25]]), torch.tensor([[1.0, 2, 30, 40]]),
        torch.tensor([0]), torch.tensor([0.5]), torch.tensor([1]),
        torch.tensor([[1.0, 2, 29, 38]], dtype=torch.float64),
    )  # fmt: skip


def _dump(folder: Path, change) -> object:
    """A dump of one image, something changed, read whole."""
    write_names(folder, torch.nn.functional.normalize(torch.ones(2, 8)))
    write_shard(folder / 'scores-00000.safetensors', [_scores()])
    write(folder, 'dump.json', change(folder) or _header())
    dump = ScoreDump(folder)
    return dump.class_embeds, dump.header.is_base, list(dump)


def _head(**changes):
    return lambda folder: _header(**changes)


def _tensor(name: str, change, file: str = 'scores-00000.safetensors'):
    def damage(folder: Path) -> None:
        from safetensors import safe_open

        path = folder / file
        with safe_open(path, 'pt') as opened:
            metadata = opened.metadata()
        tensors = load_file(path)
        tensors[name] = change(tensors[name]).contiguous()
        save_file(tensors, path, metadata)

    return damage


def _ids(text: str):
    def damage(folder: Path) -> None:
        path = folder / 'scores-00000.safetensors'
        save_file(load_file(path), path, {'image_ids': text})

    return damage


def _bytes_of(name: str, data: bytes):
    def damage(folder: Path) -> None:
        (folder / name).write_bytes(data)

    return damage


_SHARD, _NAMES = 'scores-00000.safetensors', 'names.safetensors'
DUMPS = {
    'as written': (lambda folder: None, None),
    'no header': (lambda f: b' ', 'dump.json'),
    'header list': (lambda f: [[]], 'dump.json'),
    'header 100,000 deep': (lambda f: b'[' * DEEP, 'dump.json'),
    'format 2': (_head(format=2), 'dump.json'),
    'format true': (_head(format=True), 'dump.json'),
    'key more': (_head(more=1), 'dump.json'),
    'encoder number': (_head(encoder=3), 'encoder'),
    'classes text': (_head(classes='ab'), 'classes'),
    'classes numbers': (_head(classes=[1, 2]), 'classes'),
    'classes twice': (_head(classes=['cat', 'cat']), 'classes'),
    'classes null': (_head(classes=None), 'classes'),
    'one class more': (_head(classes=['a', 'b', 'c']), 'cosines'),
    'ids text': (_head(category_ids='12'), 'category_ids'),
    'ids of lists': (_head(category_ids=[[1], [2]]), 'category_ids'),
    'ids twice': (_head(category_ids=[1, 1]), 'category_ids'),
    'ids one less': (_head(category_ids=[1]), 'category_ids'),
    'novel number': (_head(novel_classes=3), 'novel_classes'),
    'novel unknown': (_head(novel_classes=['cow']), 'novel_classes'),
    'templates text': (_head(templates='raw'), 'templates'),
    'patches list': (_head(max_num_patches=[1]), 'max_num_patches'),
    'images 10 ** 12': (_head(num_images=10**12), 'num_images'),
    'images -1': (_head(num_images=-1), 'num_images'),
    'images text': (_head(num_images='1'), 'num_images'),
    'images 1.0': (_head(num_images=1.0), 'num_images'),
    'images of 5,000 digits': (
        lambda f: json.dumps(_header()).replace('"num_images": 1', '"num_images": '
                                                + DIGITS), 'digits',
    ),
    'two images': (_head(num_images=2), 'dump.json'),
    'shards of 0': (_head(images_per_shard=0), 'images_per_shard'),
    'shards of -4': (_head(images_per_shard=-4), 'images_per_shard'),
    'shards of 10 ** -9': (_head(images_per_shard=1e-9), 'images_per_shard'),
    'shard empty': (_bytes_of(_SHARD, b''), _SHARD),
    'shard text': (_bytes_of(_SHARD, b'hello'), _SHARD),
    'shard header of 2 ** 62': (_bytes_of(_SHARD, (2**62).to_bytes(8, 'little')),
                                _SHARD),
    'cosines 100': (_tensor('cosines', lambda x: x * 0 + 100), (_SHARD, 'cosine')),
    'cosines nan': (_tensor('cosines', lambda x: x * float('nan')), (_SHARD, 'cos')),
    'cosines integers': (_tensor('cosines', lambda x: x.int()), (_SHARD, 'cosines')),
    'cosines bool': (_tensor('cosines', lambda x: x > 0), (_SHARD, 'cosines')),
    'cosines flat': (_tensor('cosines', lambda x: x.ravel()), (_SHARD, 'cosines')),
    'cosines of three names': (_tensor('cosines', lambda x: x[:, [0, 0, 1]]), _SHARD),
    'boxes nan': (_tensor('boxes', lambda x: x * float('nan')), (_SHARD, 'boxes')),
    'boxes of three': (_tensor('boxes', lambda x: x[:, :3]), (_SHARD, 'boxes')),
    'boxes two': (_tensor('boxes', lambda x: x[[0, 0]]), (_SHARD, 'boxes')),
    'boxes turned': (_tensor('boxes', lambda x: x.flip(1)), (_SHARD, 'boxes')),
    'box 7 of 1': (_tensor('box_of', lambda x: x + 7), (_SHARD, 'box_of')),
    'box -1': (_tensor('box_of', lambda x: x - 1), (_SHARD, 'box_of')),
    'box floats': (_tensor('box_of', lambda x: x + 0.5), (_SHARD, 'box_of')),
    'scores 97': (_tensor('scores', lambda x: x * 0 + 97), (_SHARD, 'scores')),
    'scores -1': (_tensor('scores', lambda x: x * 0 - 1), (_SHARD, 'scores')),
    'scores nan': (_tensor('scores', lambda x: x * float('nan')), (_SHARD, 'scores')),
    'scores two': (_tensor('scores', lambda x: x[[0, 0]]), (_SHARD, 'scores')),
    'labels 9': (_tensor('labels', lambda x: x + 9), (_SHARD, 'labels')),
    'labels -1': (_tensor('labels', lambda x: x - 5), (_SHARD, 'labels')),
    'labels floats': (_tensor('labels', lambda x: x.float()), (_SHARD, 'labels')),
    'bboxes infinite': (_tensor('bboxes', lambda x: x / 0), (_SHARD, 'bboxes')),
    'bboxes negative': (_tensor('bboxes', lambda x: -x), (_SHARD, 'bboxes')),
    'offsets 10 ** 15': (
        _tensor('row_offsets', lambda x: x * 10**15), _SHARD,
    ),
    'offsets falling': (
        _tensor('row_offsets', lambda x: x.flip(0)), (_SHARD, 'row_offsets'),
    ),
    'offsets negative': (
        _tensor('box_offsets', lambda x: x - 1), (_SHARD, 'box_offsets'),
    ),
    'offsets empty': (_tensor('row_offsets', lambda x: x[:0]), (_SHARD, 'row_offsets')),
    'offsets floats': (
        _tensor('box_offsets', lambda x: x.float()), (_SHARD, 'box_offsets'),
    ),
    'ids no json': (_ids('['), _SHARD),
    'ids deep': (_ids('[' * DEEP), _SHARD),
    'ids object': (_ids('{"a": 1}'), _SHARD),
    'ids of lists in the shard': (_ids('[[1]]'), _SHARD),
    'ids two': (_ids('[1, 2]'), _SHARD),
    'names empty': (_bytes_of(_NAMES, b''), _NAMES),
    'names nan': (_tensor('embeds', lambda x: x * float('nan'), _NAMES), _NAMES),
    'names long': (_tensor('embeds', lambda x: x * 100, _NAMES), _NAMES),
    'names zero': (_tensor('embeds', lambda x: x * 0, _NAMES), _NAMES),
    'names integers': (_tensor('embeds', lambda x: x.int(), _NAMES), _NAMES),
    'names flat': (_tensor('embeds', lambda x: x[:, 0], _NAMES), _NAMES),
    'names one': (_tensor('embeds', lambda x: x[:1], _NAMES), _NAMES),
}  # fmt: skip


# ---------------------------------------------------------------------- feature cache
def _cache(folder: Path, damage) -> object:
    cache = FeatureCache(folder, 'abc', torch.float32)
    with FeatureWriter(cache) as writer:
        writer.add('a', torch.ones(4, 2, 3), (32, 48))
    (path,) = folder.glob('*.safetensors')
    damage(path)
    return FeatureCache(folder, 'abc', torch.float32).read('a')


def _maps(change, **metadata):
    def damage(path: Path) -> None:
        tensors = change(load_file(path))
        save_file(tensors, path, {'fingerprint': 'abc'} | metadata)

    return damage


def _info(value):
    return _maps(lambda t: t | {'a#info': value})


CACHES = {
    'as written': (lambda path: None, None),
    'empty': (lambda path: path.write_bytes(b''), 'delete'),
    'half': (lambda path: path.write_bytes(path.read_bytes()[:60]), 'delete'),
    'text': (lambda path: path.write_bytes(b'hello'), 'delete'),
    'header of 2 ** 62': (
        lambda path: path.write_bytes((2**62).to_bytes(8, 'little')), 'delete',
    ),
    'another encoder': (_maps(lambda t: t, fingerprint='x'), 'another encoder'),
    'one number': (_maps(lambda t: t | {'a': t['a'] + 1e-6}), 'delete'),
    'flat': (_maps(lambda t: t | {'a': t['a'].ravel()}), 'delete'),
    'another type': (_maps(lambda t: t | {'a': t['a'].int()}), 'delete'),
    'no info': (_maps(lambda t: {'a': t['a']}), 'delete'),
    'info of two': (_info(torch.tensor([32, 48])), 'delete'),
    'info floats': (_info(torch.tensor([32.0, 48, float('nan')])), 'delete'),
    'info table': (_info(torch.ones(3, 3, dtype=torch.int64)), 'delete'),
    'size 0': (_maps(lambda t: t | {'a#info': t['a#info'] * torch.tensor([0, 1, 1])}),
               'delete'),
    'size negative': (
        _maps(lambda t: t | {'a#info': t['a#info'] * torch.tensor([-1, 1, 1])}),
        'delete',
    ),
}  # fmt: skip


ROWS: list[Row] = [
    *table('dump', _dump, DUMPS),
    *table('feature cache', _cache, CACHES, '.safetensors'),
]
