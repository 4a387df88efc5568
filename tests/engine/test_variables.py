"""An option that names a variable reaches what the config built from it."""

from pathlib import Path

import fgclip2_det  # noqa: F401
from fgclip2_det.engine.launch import load_config
from fgclip2_det.engine.variables import spread_variables

CHESS = Path(__file__).resolve().parents[2] / 'configs/chess/ovd_fgclip2_chess.py'


def test_paths_keys_and_nothing_else():
    cfg = dict(
        root='a',
        size=3,
        data=[dict(root='a', file='a/x.json', other='ab/x', size=3, length=3)],
        elsewhere=dict(root='c', size=4),
    )
    spread_variables(cfg, {'root': 'b', 'size': 5, 'data.0.length': 9, 'new': 1})
    assert cfg == dict(
        root='b',
        size=5,
        data=[dict(root='b', file='b/x.json', other='ab/x', size=5, length=3)],
        elsewhere=dict(root='c', size=4),
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
