"""Every segmentation config loads and builds, with the published settings."""

import copy
import re
from pathlib import Path

import pytest
import torch

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmdet.datasets.coco_semantic import CocoSegDataset
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

import fgclip2_det.registration

FOLDER = Path(__file__).resolve().parents[1] / 'configs/segmentation'
NAMES = sorted(path.name for path in FOLDER.glob('*.py'))
LARGE = 'fgclip2-cost_b16_4xb2-80k_coco-stuff.py'


def build(name: str):
    init_default_scope('mmdet')
    cfg = Config.fromfile(FOLDER / name)
    size = re.split('[-_]', cfg.model.backbone.encoder.pretrained)[-1]
    cfg.model.backbone.encoder = dict(size=size)
    with torch.device('meta'):
        return cfg, MODELS.build(cfg.model)


@pytest.mark.parametrize('name', NAMES)
def test_builds_without_memory(name):
    cfg, model = build(name)
    assert model.backbone.embed_dims == cfg.model.decode_head.map_channels
    assert all(p.is_meta for p in model.parameters())
    names = [hook.type for hook in cfg.custom_hooks]
    assert 'OpenVocabVocabularyHook' in names
    assert cfg.test_evaluator.type == 'OpenVocabSegMetric'


def test_the_encoder_learns_at_a_hundredth():
    cfg, model = build(LARGE)
    wrapper = build_optim_wrapper(model, copy.deepcopy(cfg.optim_wrapper))
    rates = {
        parameter: group['lr']
        for group in wrapper.optimizer.param_groups
        for parameter in group['params']
    }
    assert {rates[p] for p in model.decode_head.parameters()} == {2e-4}
    trained = [p for p in model.backbone.parameters() if p.requires_grad]
    assert trained
    assert [rates[p] for p in trained] == pytest.approx([2e-6] * len(trained))
    assert cfg.train_cfg.max_iters == 80_000
    assert 4 * cfg.train_dataloader.batch_size == 8


def test_the_tiny_encoder_is_frozen():
    _, model = build('fgclip2-cost_tiny_ovshapes.py')
    assert not [p for p in model.backbone.parameters() if p.requires_grad]


def test_classes_of_coco_stuff():
    """MMDetection's 171, in other words: every word of its own but 'other', 'stuff'."""
    cfg = Config.fromfile(FOLDER / LARGE)
    theirs = CocoSegDataset.METAINFO['classes']
    ours = cfg.train_dataloader.dataset.metainfo.classes
    assert len(ours) == len(set(ours)) == len(theirs) == 171
    changed = {'playingfield', 'structural-other'}
    for one, other in zip(ours, theirs, strict=True):
        if other in changed:
            continue
        words = other.removesuffix('-other').removesuffix('-stuff')
        assert set(one.split()) == set(words.replace('-', ' ').split())
