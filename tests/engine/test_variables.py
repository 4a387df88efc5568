"""An option that names a variable reaches what the config built from it."""

from pathlib import Path

import fgclip2_det.registration
from fgclip2_det.engine.config import load_config
from fgclip2_det.engine.variables import spread_variables

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
CHESS = CONFIGS / 'chess/ovd_fgclip2_chess.py'
COCO = CONFIGS / 'ov_coco/fgclip2-det_b16_sfpn_8xb8-3e_ov-coco.py'


def test_paths_keys_and_nothing_else():
    cfg = dict(
        root='a/b',
        size=3,
        data=[dict(root='a/b', file='a/b/x.json', other='a/bb', size=3, length=3)],
        elsewhere=dict(root='c', size=4, path='x/a/b', word='b'),
    )
    spread_variables(cfg, {'root': 'd', 'size': 5, 'data.0.length': 9, 'new': 1})
    assert cfg == dict(
        root='d',
        size=5,
        data=[dict(root='d', file='d/x.json', other='a/bb', size=5, length=3)],
        elsewhere=dict(root='c', size=4, path='x/d', word='b'),
    )


def test_coco_takes_other_files():
    cfg = load_config(
        COCO, dict(data_root='/c', val_ann_file='a/val.json', train_images='t/')
    )
    assert cfg.val_dataloader.dataset.ann_file == 'a/val.json'
    assert cfg.val_evaluator.ann_file == '/c/a/val.json'
    assert cfg.train_dataloader.dataset.data_prefix.img == 't/'
    assert cfg.train_dataloader.dataset.ann_file == (
        'annotations/instances_train2017.json'
    )


def test_chess_takes_its_data_and_split_as_one_option_each():
    cfg = load_config(
        CHESS,
        dict(data_root='/photos', novel_classes=['white-king'], max_num_patches=256),
    )
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.data_root == '/photos'
        assert loader.dataset.novel_classes == ['white-king']
        assert 256 in [step.get('max_num_patches') for step in loader.dataset.pipeline]
    assert cfg.val_evaluator.ann_file == '/photos/valid.json'
    assert cfg.test_evaluator.ann_file == '/photos/valid.json'


def test_schedule_follows_the_epochs():
    for options in ({'train_cfg.max_epochs': 7}, {'max_epochs': 7}):
        cfg = load_config(CONFIGS / 'ovd_fgclip2.py', options)
        assert cfg.train_cfg.max_epochs == cfg.train_cfg.val_interval == 7
        warm_up, cosine = cfg.param_scheduler
        assert (warm_up.end, cosine.end, cosine.T_max) == (50, 7, 7)


def test_ovshapes_size_is_one_option_each():
    cfg = load_config(CONFIGS / 'ovd_fgclip2.py', dict(num_train=16, num_val=8))
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert (loader.dataset.num_train, loader.dataset.num_val) == (16, 8)
