"""A training of another length: what moves with it, in every config."""

import copy
from pathlib import Path

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from mmengine.config import Config

from fgclip2_det.engine.config import load_config, read_config
from fgclip2_det.engine.merging import merge_options
from fgclip2_det.engine.schedules import is_warm_up, stretch_schedule, train_length

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
FILES = sorted(
    path
    for path in CONFIGS.rglob('*.py')
    if '_base_' not in path.parts and 'llmdet' not in path.parts
)


def schedulers_of(cfg) -> list:
    schedulers = cfg.get('param_scheduler') or []
    return schedulers if isinstance(schedulers, list) else [schedulers]


def make(*schedulers, **train) -> Config:
    return Config(dict(train_cfg=train, param_scheduler=list(schedulers)))


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_every_config_ends_with_its_training(path):
    """Seven times as long, and a third: all that was a share of the training still is,
    and a warm-up is over before half of it."""
    before = read_config(path)
    name, length = train_length(before)
    keys = (f'train_cfg.{name}', name if name in before else f'train_cfg.{name}')
    for key, new in zip(keys, (7 * length, max(1, length // 3)), strict=True):
        cfg = copy.deepcopy(before)
        merge_options(cfg, {key: new})
        assert train_length(cfg) == (name, new)
        check_places(before, cfg, name, length, new)


def check_places(before: Config, after: Config, name: str, old: int, new: int):
    def share(place, length):
        return pytest.approx(place / length, abs=0.51 / min(old, new) + 1 / new)

    for was, now in zip(schedulers_of(before), schedulers_of(after), strict=True):
        own = was.get('by_epoch', True) == (name == 'max_epochs')
        if is_warm_up(was):
            assert now == was if not own else 2 * now['end'] <= max(new, 2)
            continue
        assert own
        assert now.get('end', new) == new
        for a, b in zip(was.get('milestones', ()), now.get('milestones', ()),
                        strict=True):  # fmt: skip
            assert b / new == share(a, old)
        if 'T_max' in was:
            assert now['T_max'] == now['end'] - now['begin']
        first = schedulers_of(after)[0]
        if (
            was['begin']
            and is_warm_up(first)
            and schedulers_of(before)[0]['end'] == (was['begin'])
        ):
            assert now['begin'] == first['end']
        else:
            assert now['begin'] / new == share(was['begin'], old)
    train, was = after.train_cfg, before.train_cfg
    if was.val_interval == old:
        assert train.val_interval == new
    for a, b in zip(was.get('dynamic_intervals', ()),
                    train.get('dynamic_intervals', ()), strict=True):  # fmt: skip
        assert b[0] / new == share(a[0], old)
        assert b[1] == (new if a[1] == old else a[1])
    for a, b in zip(
        before.get('custom_hooks', ()), after.get('custom_hooks', ()), strict=True
    ):
        if 'switch_epoch' in a:
            assert b.switch_epoch / new == share(a.switch_epoch, old)


def test_numbers_worked_out_by_hand():
    coco = load_config(
        CONFIGS / 'ov_coco/fgclip2-det_b16_sfpn_8xb8-3e_ov-coco.py',
        {'train_cfg.max_epochs': 12},
    )
    assert coco.param_scheduler[1].milestones == [8]  # 2 of 3
    cpu = CONFIGS / 'pretrain/fgclip2_tiny_stage2_ovshapes.py'
    warm_up, decay = load_config(cpu, {'max_iters': 500}).param_scheduler
    assert (warm_up.end, decay.begin, decay.end) == (100, 267, 500)  # 800 of 1,500
    options = {'max_iters': 500, 'decay_from': 300}
    assert load_config(cpu, options).param_scheduler[1].begin == 300
    base = CONFIGS / 'pretrain/fgclip2_b16_stage2_16xb256-1e_finehard.py'
    warm_up, cosine = load_config(base, {'max_iters': 500}).param_scheduler
    assert warm_up.end == cosine.begin == 26  # 300 of 5,860: would be 60 % of it


def test_what_options_name_stays():
    options = {
        'train_cfg.max_epochs': 12,
        'param_scheduler.1.milestones': [5],
        'train_cfg.val_interval': 2,
    }
    cfg = load_config(
        CONFIGS / 'ov_coco/fgclip2-det_b16_sfpn_8xb8-3e_ov-coco.py', options
    )
    assert cfg.param_scheduler[1].milestones == [5]
    assert (cfg.param_scheduler[1].end, cfg.train_cfg.val_interval) == (12, 2)
    whole = [dict(type='StepLR', step_size=4)]
    cfg = load_config(
        CONFIGS / 'ovd_fgclip2.py', {'max_epochs': 12, 'param_scheduler': whole}
    )
    assert cfg.param_scheduler == whole


def test_other_kinds():
    cfg = make(
        dict(type='StepLR', step_size=3),
        dict(type='ExponentialLR', gamma=0.25),
        dict(type='CosineRestartLR', periods=[4, 8], by_epoch=True),
        dict(type='OneCycleLR', eta_max=1, total_steps=600, by_epoch=False),
        dict(type='PolyLR', by_epoch=False, begin=60, end=600),
        dict(type='LinearLR', end=1, by_epoch=True),
        dict(type='CosineAnnealingLR', begin=1, T_max=11, end=12),
        max_epochs=12,
    )
    old = train_length(cfg)
    cfg.train_cfg.max_epochs = 24
    stretch_schedule(cfg, old)
    step, exponential, restart, cycle, poly, warm_up, cosine = cfg.param_scheduler
    assert step.step_size == 6 and restart.periods == [8, 16]
    assert exponential.gamma == 0.5  # 0.25 ** 12 = 0.5 ** 24
    assert cycle.total_steps == 1200 and (poly.begin, poly.end) == (120, 1200)
    assert warm_up.end == 1 and (cosine.begin, cosine.end, cosine.T_max) == (1, 24, 23)


def test_schedules_that_cannot_follow():
    cfg = make(dict(type='OwnLR', end=3), max_epochs=3)
    cfg.train_cfg.max_epochs = 4
    with pytest.raises(ValueError, match=r'param_scheduler\.0 is a OwnLR'):
        stretch_schedule(cfg, ('max_epochs', 3))
    assert stretch_schedule(cfg, ('max_epochs', 3), {'param_scheduler.0'}) == []
    path = CONFIGS / 'ovd_fgclip2.py'
    with pytest.raises(ValueError, match='max_iters is not for EpochBasedTrainLoop'):
        load_config(path, {'train_cfg.max_iters': 50})
    loop = {'train_cfg.type': 'IterBasedTrainLoop', 'train_cfg.max_iters': 50}
    with pytest.raises(ValueError, match='from max_epochs to max_iters'):
        load_config(path, loop)
    cfg = load_config(path, loop | {'param_scheduler': []})
    assert cfg.train_cfg == dict(type='IterBasedTrainLoop', max_iters=50)
    with pytest.raises(ValueError, match='must be 1 or more'):
        load_config(path, {'max_epochs': 0})
