"""Fingerprints, checkpoints and metrics files."""

import json
import math
import os

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmengine.config import Config

from fgclip2_det.engine.config import check_options
from fgclip2_det.engine.file_backend import AtomicLocalBackend
from fgclip2_det.engine.hooks.metrics_json_hook import plain_metrics
from fgclip2_det.engine.report import metrics_table
from fgclip2_det.engine.work_dir import (
    check_checkpoint,
    check_work_dir,
    config_fingerprint,
    last_checkpoint,
    parse_config_text,
    write_fingerprint,
)
from fgclip2_det.io.atomic import write_atomic
from fgclip2_det.models.checkpoints import (
    check_weights,
    newest_checkpoint,
    read_checkpoint,
)


def make_config(folder, depth=18, **changes) -> Config:
    metainfo = {'classes': ('cat', '杯子')}
    dataset = {'type': 'CocoDataset', 'ann_file': 'a.json', 'metainfo': metainfo}
    model = dict(
        type='RetinaNet',
        backbone={'depth': depth, 'init_cfg': {'checkpoint': 'x'}, 'scale': (1, 2)},
        limit=float('inf'),
        test_cfg={'score_thr': 0.1},
        **{'odd-key': {1: None}},
    )
    content = {'model': model, 'train_dataloader': {'dataset': dataset}, 'epochs': 1}
    return Config(content | {'work_dir': str(folder)} | changes)


def save(path, cfg, **content):
    meta = {'cfg': cfg.pretty_text, 'epoch': 1, 'iter': 2, 'seed': 0}
    torch.save({'meta': meta, 'state_dict': {}, 'optimizer': {}} | content, path)


def test_fingerprint_ignores_schedule_paths_and_weights(tmp_path):
    first = make_config(tmp_path)
    other = make_config(tmp_path, epochs=9)
    other.train_dataloader.dataset.ann_file = 'b.json'
    other.model.backbone.init_cfg.checkpoint = 'y'
    other.model.test_cfg.score_thr = 0.5
    assert config_fingerprint(first) == config_fingerprint(other)
    other.train_dataloader.dataset.metainfo.classes = ('cat', 'cup')
    assert config_fingerprint(first) != config_fingerprint(other)


def test_a_dumped_config_has_the_same_fingerprint(tmp_path):
    cfg = make_config(tmp_path)
    parsed = parse_config_text(cfg.pretty_text)
    assert config_fingerprint(parsed) == config_fingerprint(cfg)


def test_a_config_text_is_never_run(tmp_path):
    with pytest.raises(ValueError):
        parse_config_text(f"model = open('{tmp_path}/x', 'w')")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('with_fingerprint', [True, False])
def test_work_dir_of_another_config(tmp_path, with_fingerprint):
    own, other = make_config(tmp_path), make_config(tmp_path, depth=34)
    check_work_dir(other)  # nothing there yet
    if with_fingerprint:
        write_fingerprint(own)
        check_work_dir(other)  # nothing saved yet
    save(tmp_path / 'epoch_1.pth', own)
    write_atomic(tmp_path / 'last_checkpoint', b'/moved/away/epoch_1.pth')
    check_work_dir(own)
    message = 'model.backbone.depth is 34 here but 18 there; choose another --work-dir'
    with pytest.raises(ValueError, match=message):
        check_work_dir(other)
    path = last_checkpoint(tmp_path)
    assert path == tmp_path / 'epoch_1.pth'
    with pytest.raises(ValueError, match=message):
        check_checkpoint(other, read_checkpoint(path), path)


def test_torn_checkpoints(tmp_path):
    cfg = make_config(tmp_path)
    for i in (1, 2):
        path = tmp_path / f'epoch_{i}.pth'
        save(path, cfg, weights=torch.zeros(2000))
        os.utime(path, (i, i))
    path.write_bytes(path.read_bytes()[:4000])
    assert newest_checkpoint(tmp_path) == tmp_path / 'epoch_1.pth'
    with pytest.raises(ValueError, match=r'newest complete one is .*epoch_1\.pth'):
        read_checkpoint(path)
    with pytest.raises(FileNotFoundError, match=r'epoch_3\.pth.*epoch_1\.pth'):
        read_checkpoint(tmp_path / 'epoch_3.pth')
    torch.save([1], path)
    with pytest.raises(ValueError, match='expected a dict'):
        read_checkpoint(path)
    assert newest_checkpoint(tmp_path / 'nowhere') is None


def test_weights_of_another_model():
    model = torch.nn.Linear(3, 2)
    check_weights(model, model.state_dict() | {'more': torch.zeros(1)}, 'x.pth')
    with pytest.raises(ValueError, match=r'2 parameters differ; weight is \(2, 4\)'):
        check_weights(model, {'weight': torch.zeros(2, 4)}, 'x.pth')


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'a.bin'
    AtomicLocalBackend().put(b'old', path)

    def fail(*args):
        raise OSError('disk full')

    monkeypatch.setattr(os, 'fsync', fail)
    with pytest.raises(OSError, match='disk full'):
        write_atomic(path, b'new')
    assert path.read_bytes() == b'old'


def test_metrics_are_plain_floats():
    values = {'a': np.float32(0.5), 'b': torch.tensor(1), 'c': math.nan, 'd': 'text'}
    plain = plain_metrics(values)
    assert plain == {'a': 0.5, 'b': 1.0, 'c': None}
    json.dumps(plain, allow_nan=False)
    assert metrics_table(plain) == 'a  0.5000\nb  1.0000\nc      -'


def test_misspelt_options(tmp_path):
    cfg = make_config(tmp_path, custom_hooks=[{'type': 'A', 'every': 1}])
    fine = ['model.backbone.new', 'epochs', 'randomness.seed', 'custom_hooks.0.every']
    check_options(cfg, dict.fromkeys(fine, 1))
    for wrong in ('model.backbone.dept', 'modell.x', 'custom_hooks.0.evry'):
        with pytest.raises(ValueError, match='did you mean'):
            check_options(cfg, {wrong: 1})
