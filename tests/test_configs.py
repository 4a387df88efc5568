"""Every config loads and builds; the swapped detectors train and predict."""

import re
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

import fgclip2_det  # noqa: F401

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
LEAVES = sorted(
    p.relative_to(CONFIGS).as_posix()
    for p in CONFIGS.rglob('*.py')
    if not {'_base_', 'pretrain', 'rescore'} & set(p.parts)  # tested elsewhere
)
SIZE = re.compile(r'(qihoo360/fg-clip2-|(work_dirs/)?fgclip2_)(?P<size>[a-z0-9]+)')
SWAPS = [name for name in LEAVES if name.startswith('swap/')]


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
        cfg.model.backbone.encoder = size['size']
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    assert model.backbone.embed_dims == cfg.model.neck.in_channels
    assert all(p.is_meta for p in model.backbone.parameters())
    assert 'fgclip2_det' in cfg.custom_imports['imports']


def swapped(name: str):
    """The config's detector around the tiny encoder, with a few queries."""
    cfg = load(name)
    model = cfg.model
    model.backbone.encoder = 'tiny'
    model.neck.in_channels = 128
    if model.type == 'DINO':
        model.update(num_queries=12)
        model.dn_cfg.group_cfg.num_dn_queries = 4
        model.encoder.num_layers = model.decoder.num_layers = 1
        model.test_cfg.max_per_img = 12
    torch.manual_seed(0)
    built = MODELS.build(model)
    built.init_weights()
    return built


def batch() -> dict:
    inputs, samples = [], []
    for h, w in ((96, 160), (128, 96)):
        inputs.append(torch.randint(0, 256, (3, h, w), dtype=torch.uint8))
        sample = DetDataSample(
            metainfo=dict(img_shape=(h, w), ori_shape=(h, w), scale_factor=(1.0, 1.0))
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[8.0, 8, 60, 70]]), labels=torch.tensor([3])
        )
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


@pytest.mark.slow
@pytest.mark.parametrize('name', SWAPS)
def test_swapped_detector_trains_predicts_saves_and_loads(name, tmp_path):
    model = swapped(name).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    for _ in range(2):
        data = model.data_preprocessor(batch(), training=True)
        loss, _ = model.parse_losses(model(**data, mode='loss'))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.isfinite()
    torch.save(model.state_dict(), tmp_path / 'model.pth')
    again = swapped(name)
    again.load_state_dict(torch.load(tmp_path / 'model.pth', weights_only=True))
    results = []
    for detector in (model.eval(), again.eval()):
        torch.manual_seed(1)
        with torch.no_grad():
            results.append(detector.test_step(batch()))
    for first, second in zip(*results, strict=True):
        assert torch.equal(first.pred_instances.scores, second.pred_instances.scores)


def test_fvit_constants():
    """CLIPSelf's OV-COCO settings, and the tiny detector's own temperature."""
    fusion = load(
        'ov_coco/fgclip2-det_b16_sfpn_8xb8-3e_ov-coco.py'
    ).model.roi_head.fusion
    assert (fusion.alpha, fusion.beta) == (0.1, 0.8)
    assert fusion.temperature == pytest.approx(1 / 75)
