"""Options merged into a config: another type starts anew."""

from pathlib import Path

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmdet.registry import MODELS
from mmengine.config import Config

from fgclip2_det.engine.config import load_config
from fgclip2_det.engine.merging import merge_options

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
DEFAULT = CONFIGS / 'ovd_fgclip2.py'
FUSION = 'model.roi_head.fusion'


def test_another_fusion_has_its_own_numbers(capsys):
    """The README's option: ViLD's weights, not those of the config's F-ViT rule."""
    cfg = load_config(DEFAULT, {f'{FUSION}.type': 'OpenVocabViLDFusion'})
    assert cfg.model.roi_head.fusion == dict(type='OpenVocabViLDFusion')
    fusion = MODELS.build(cfg.model.roi_head.fusion)
    assert (fusion.alpha, fusion.beta) == (1 / 3, 2 / 3)
    assert (
        'other keys: alpha=0.1, beta=0.3, temperature=0.05' in capsys.readouterr().out
    )
    options = {f'{FUSION}.type': 'OpenVocabViLDFusion', f'{FUSION}.temperature': 0.02}
    cfg = load_config(DEFAULT, options)
    assert cfg.model.roi_head.fusion == dict(
        type='OpenVocabViLDFusion', temperature=0.02
    )
    cfg = load_config(DEFAULT, {FUSION: dict(type='OpenVocabViLDFusion')})
    assert cfg.model.roi_head.fusion == dict(type='OpenVocabViLDFusion')


@pytest.mark.parametrize('name', ['OpenVocabFViTFusion', 'mmdet.OpenVocabFViTFusion'])
def test_the_same_type_drops_nothing(name, capsys):
    cfg = load_config(DEFAULT, {f'{FUSION}.type': name, f'{FUSION}.alpha': 0.4})
    assert cfg.model.roi_head.fusion == dict(
        type=name, alpha=0.4, beta=0.3, temperature=0.05
    )
    assert capsys.readouterr().out == ''


def test_optimizers_backbones_and_hooks():
    options = {
        'optim_wrapper.optimizer.type': 'SGD',
        'optim_wrapper.optimizer.lr': 0.1,
        'model.backbone.type': 'ResNet',
        'model.backbone.depth': 18,
        'model.backbone.init_cfg.type': 'Pretrained',
        'custom_hooks.0.type': 'EMAHook',
    }
    cfg = Config.fromfile(DEFAULT)
    cfg.custom_hooks[0].shift_novel = 5
    lines = merge_options(cfg, options)
    assert cfg.optim_wrapper.optimizer == dict(type='SGD', lr=0.1)
    assert cfg.optim_wrapper.clip_grad == dict(max_norm=10.0)
    assert cfg.model.backbone == dict(
        type='ResNet', depth=18, init_cfg=dict(type='Pretrained')
    )
    assert cfg.custom_hooks[0] == dict(type='EMAHook')
    assert len(cfg.custom_hooks) > 1
    assert len(lines) == 3 and any('weight_decay=0.05' in line for line in lines)


def test_an_optimizer_wrapper_keeps_its_optimizer():
    cfg = Config.fromfile(DEFAULT)
    before = cfg.optim_wrapper.to_dict()
    assert merge_options(cfg, {'optim_wrapper.type': 'AmpOptimWrapper'}) == []
    assert cfg.optim_wrapper == before | dict(type='AmpOptimWrapper')
    cfg.optim_wrapper.dtype = 'bfloat16'
    [line] = merge_options(cfg, {'optim_wrapper.type': 'OptimWrapper'})
    assert line.endswith("other keys: dtype='bfloat16'")
    assert cfg.optim_wrapper == before


def test_data_of_validation_is_not_that_of_the_test():
    cfg = load_config(DEFAULT, {'val_dataloader.dataset.type': 'CocoDataset'})
    assert cfg.val_dataloader.dataset == dict(type='CocoDataset')
    assert cfg.test_dataloader.dataset.type == 'OVShapesDataset'


def test_options_that_do_not_fit():
    with pytest.raises(ValueError, match='do not fit'):
        load_config(DEFAULT, {'custom_hooks.99.type': 'EMAHook'})
    with pytest.raises(ValueError, match='do not fit'):
        load_config(DEFAULT, {'max_epochs.a': 1})
