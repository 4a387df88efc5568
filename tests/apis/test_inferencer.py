"""A checkpoint, any picture and any names, from Python and the command line."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

from fgclip2_det import OpenVocabInferencer, Vocabulary

ROOT = Path(__file__).resolve().parents[2]
NAMES = ['red circle', 'blue star', '绿色正方形']


@pytest.fixture(scope='module')
def weights(tmp_path_factory) -> Path:
    """A checkpoint as training writes it, of an untrained detector."""
    init_default_scope('mmdet')
    cfg = Config.fromfile(ROOT / 'configs/ovd_fgclip2.py')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    torch.nn.init.normal_(model.classifier.project.weight, std=1.0)
    model.set_vocabulary(Vocabulary(NAMES, novel_classes=NAMES[2:]))
    path = tmp_path_factory.mktemp('weights') / 'epoch_1.pth'
    meta = dict(cfg=cfg.pretty_text, dataset_meta=model.dataset_meta)
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return path


@pytest.fixture(scope='module')
def inferencer(weights) -> OpenVocabInferencer:
    return OpenVocabInferencer(weights)


@pytest.fixture(scope='module')
def picture(tmp_path_factory) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (150, 220, 3), np.uint8)
    path = tmp_path_factory.mktemp('pictures') / 'noise.jpg'
    Image.fromarray(pixels).save(path)
    return path


def test_training_names_then_others(inferencer, picture):
    (found,) = inferencer(picture)
    assert found.classes == tuple(NAMES)
    assert inferencer.model.vocabulary.novel_classes == NAMES[2:]
    assert len(found) > 0
    assert set(found.names) <= set(NAMES)
    (other,) = inferencer(picture, 'dog. 狗')
    assert other.classes == ('dog', '狗')
    assert (other.scores.diff() <= 0).all()
    x1, y1, x2, y2 = other.bboxes.unbind(1)
    assert x1.min() >= 0
    assert y1.min() >= 0
    assert x2.max() <= 220 + 1e-3  # the original picture's pixels
    assert y2.max() <= 150 + 1e-3
    assert (x2 > x1).all()
    assert (y2 > y1).all()


def test_paths_images_and_arrays_agree(inferencer, picture):
    image = Image.open(picture)
    results = inferencer([picture, image, np.asarray(image)], NAMES)
    for result in results[1:]:
        assert torch.equal(result.scores, results[0].scores)
    assert len(inferencer(picture, NAMES, score_thr=2.0)[0]) == 0


def test_bad_input(inferencer, weights, tmp_path):
    with pytest.raises(FileNotFoundError, match='there is no checkpoint'):
        OpenVocabInferencer(tmp_path / 'absent.pth')
    bare = tmp_path / 'bare.pth'
    state = torch.load(weights, weights_only=True)['state_dict']
    torch.save(dict(state_dict=state), bare)
    with pytest.raises(ValueError, match='carries no config'):
        OpenVocabInferencer(bare)
    other = ROOT / 'configs/ovd_fgclip2.py'
    cfg = Config.fromfile(other)
    cfg.model.neck.out_channels = 32
    with pytest.raises(ValueError, match='holds another model than the config'):
        OpenVocabInferencer(bare, cfg)
    with pytest.raises(ValueError, match=r'absent\.jpg'):
        inferencer(tmp_path / 'absent.jpg', NAMES)
    with pytest.raises(ValueError, match='expected names'):
        inferencer(np.zeros((9, 9, 3), np.uint8), '')


def test_config_in_a_checkpoint_is_read_not_run(weights, tmp_path):
    """A checkpoint from elsewhere must not execute anything."""
    checkpoint = torch.load(weights, weights_only=True)
    marker = tmp_path / 'ran'
    checkpoint['meta']['cfg'] += f"\nbad = open({str(marker)!r}, 'w')\n"
    path = tmp_path / 'bad.pth'
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match='damaged config'):
        OpenVocabInferencer(path)
    called = f"model = dict(type='subprocess.getoutput', cmd='touch {marker}')"
    checkpoint['meta']['cfg'] = (
        f'{called}\ntest_dataloader = dict(dataset=dict(pipeline=[]))\n'
    )
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match=r"'subprocess\.getoutput', which is no"):
        OpenVocabInferencer(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        (dict(meta=None), 'meta is no dict'),
        (dict(state_dict=[1]), 'state_dict is no dict'),
        (dict(meta=dict(cfg='model = dict(')), 'damaged config'),
        (dict(meta=dict(cfg='x = 1')), 'damaged config'),
    ],
)
def test_other_checkpoints(weights, tmp_path, change, match):
    path = tmp_path / 'other.pth'
    torch.save({**torch.load(weights, weights_only=True), **change}, path)
    with pytest.raises(ValueError, match=match):
        OpenVocabInferencer(path)


def test_diverged_weights(weights, tmp_path):
    checkpoint = torch.load(weights, weights_only=True)
    checkpoint['state_dict']['rpn_head.rpn_conv.bias'][3] = float('nan')
    torch.save(checkpoint, tmp_path / 'nan.pth')
    with pytest.raises(ValueError, match=r'rpn_conv\.bias holds NaN'):
        OpenVocabInferencer(tmp_path / 'nan.pth')


def demo(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / 'tools/image_demo.py', *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_demo(weights, picture, tmp_path):
    done = demo(
        picture.parent, '--texts', '红色圆形. star', '--weights', weights,
        '--out-dir', tmp_path / 'out', '--score-thr', 0,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / 'out/detections.json').read_text('utf-8'))
    assert {d['name'] for d in row['detections']} <= {'红色圆形', 'star'}
    drawn = Image.open(row['picture'])
    assert drawn.size == (220, 150)
    assert (np.asarray(drawn) != np.asarray(Image.open(picture))).any()


@pytest.mark.slow
def test_one_unreadable_picture_loses_nothing(weights, picture, tmp_path):
    bad = tmp_path / 'bad.jpg'
    bad.write_bytes(picture.read_bytes()[:500])
    done = demo(
        bad, picture, '--texts', 'star', '--weights', weights,
        '--out-dir', tmp_path / 'out',
    )  # fmt: skip
    assert done.returncode == 1
    assert '1 of 2 images' in done.stderr
    assert str(bad) in done.stderr
    (row,) = json.loads((tmp_path / 'out/detections.json').read_text('utf-8'))
    assert row['image'] == str(picture)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (['--texts', ''], 'expected names'),
        (
            ['--texts', 'cat', '--weights', 'absent.pth'],
            'there is no checkpoint absent.pth',
        ),
    ],
)
def test_demo_errors_are_one_sentence(picture, change, words):
    done = demo(picture, *change)
    assert done.returncode != 0
    assert words in done.stderr
    assert 'Traceback' not in done.stderr
