"""``data_root`` on the command line moves data sets and evaluators of every config."""

import copy
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmengine.config import Config, utils

from fgclip2_det.engine.config import read_config
from fgclip2_det.engine.variables import spread_variables

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
PARTS = [
    f'{split}_{part}'
    for split in ('train', 'val', 'test')
    for part in ('dataloader', 'evaluator')
]


@pytest.fixture
def cached_bases(monkeypatch):
    """Every file of ``_base_``, and MMDetection's list of its configs, is read once,
    not once a config."""
    read = functools.cache(Config._file2dict)

    def cached(*args, **kwargs):
        return copy.deepcopy(read(*args, **kwargs))

    monkeypatch.setattr(Config, '_file2dict', staticmethod(cached))
    monkeypatch.setattr(utils, 'load', functools.cache(utils.load))


def texts(part: object) -> Iterator[tuple[str, str]]:
    """(key, value) of every text in nested dicts and lists."""
    if isinstance(part, dict):
        for key, value in part.items():
            if isinstance(value, str):
                yield key, value
            else:
                yield from texts(value)
    elif isinstance(part, list | tuple):
        for value in part:
            yield from texts(value)


def test_every_config_moves_as_a_whole(cached_bases):
    """Nothing below the old root is left: neither data nor ground truth."""
    moved = 0
    for path in CONFIGS.rglob('*.py'):
        if '_base_' in path.parts:
            continue
        cfg = read_config(path)
        old = cfg.get('data_root')
        if old is None:
            continue
        spread_variables(cfg, dict(data_root='/else/where'))
        for part in filter(None, map(cfg.get, PARTS)):
            for key, value in texts(part):
                root = f'{value.rstrip("/")}/'
                assert not root.startswith(f'{old.rstrip("/")}/'), (path, key, value)
                moved += key == 'ann_file' and value.startswith('/else/where/')
    assert moved > 2 * 40  # evaluators of the swap configs alone


@pytest.mark.parametrize('old', ['data/coco', 'data/coco/'])
@pytest.mark.parametrize('new', ['/c', '/c/'])
def test_slashes_at_the_end_make_no_difference(old, new):
    cfg = dict(
        data_root=old,
        data=dict(data_root=old, ann_file='annotations/val.json'),
        metrics=[dict(ann_file='data/coco/annotations/val.json')],
        other='data/coco2/val.json',
    )
    spread_variables(cfg, dict(data_root=new))
    assert cfg == dict(
        data_root=new,
        data=dict(data_root=new, ann_file='annotations/val.json'),
        metrics=[dict(ann_file='/c/annotations/val.json')],
        other='data/coco2/val.json',
    )
