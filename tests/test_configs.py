"""Every config loads and builds."""

import copy
import re
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from torch import nn

import fgclip2_det.registration
from fgclip2_det.models import RegionTextClassifier

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
ELSEWHERE = {'_base_', 'pretrain', 'rescore', 'segmentation', 'swap'}
LEAVES = sorted(
    p.relative_to(CONFIGS).as_posix()
    for p in CONFIGS.rglob('*.py')
    if not ELSEWHERE & set(p.parts)  # tested elsewhere
)
SIZE = re.compile(
    r'(qihoo360/fg-clip(?P<version>2?)-|(work_dirs/)?fgclip2_)(?P<size>[a-z0-9]+)'
)


def load(name: str, **options) -> Config:
    init_default_scope('mmdet')
    cfg = Config.fromfile(CONFIGS / name)
    cfg.merge_from_dict(options)
    return cfg


@pytest.mark.parametrize('name', LEAVES)
def test_builds_without_memory(name):
    """On the meta device, where released weights are not needed either."""
    cfg = load(name)
    encoder = cfg.model.backbone.encoder
    if 'pretrained' in encoder:
        size = SIZE.match(encoder['pretrained'])
        assert size, f'{encoder["pretrained"]} is neither released nor ours'
        cfg.model.backbone.encoder = dict(size=size['size'])
        if size['version'] == '':
            cfg.model.backbone.encoder.version = 1
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    assert model.backbone.embed_dims == cfg.model.neck.in_channels
    assert all(p.is_meta for p in model.backbone.parameters())
    assert 'fgclip2_det.registration' in cfg.custom_imports['imports']
    check_weight_decay(model, cfg)


def check_weight_decay(model: nn.Module, cfg: Config) -> None:
    """The classifier's temperature and bias do not decay; its projection does."""
    wrapper = build_optim_wrapper(model, copy.deepcopy(cfg.optim_wrapper))
    base = cfg.optim_wrapper.optimizer
    assert base.weight_decay > 0
    groups = {
        parameter: (group['lr'], group['weight_decay'])
        for group in wrapper.optimizer.param_groups
        for parameter in group['params']
    }
    [(name, classifier)] = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, RegionTextClassifier)
    ]
    assert groups[classifier.logit_scale] == (base.lr, 0.0), name
    assert groups[classifier.logit_bias] == (base.lr, 0.0), name
    assert groups[classifier.project.weight] == (base.lr, base.weight_decay), name


def test_weight_decay_of_a_text_classifier_on_another_detector():
    cfg = load('rescore/faster-rcnn_r18_ovshapes.py')
    cfg.model.text_encoder = dict(size='tiny')
    check_weight_decay(MODELS.build(cfg.model), cfg)


def test_fvit_constants():
    """CLIPSelf's OV-COCO settings, and the tiny detector's own temperature."""
    fusion = load(
        'ov_coco/fgclip2-det_b16_sfpn_8xb8-3e_ov-coco.py'
    ).model.roi_head.fusion
    assert (fusion.alpha, fusion.beta) == (0.1, 0.8)
    assert fusion.temperature == pytest.approx(1 / 75)
