"""Variants of the losses: their options, the table and the picture."""

import pytest
from PIL import Image

from pretrain.ablation import (
    COLUMNS,
    VARIANTS,
    collect,
    draw_table,
    find_variant,
    format_markdown,
    read_columns,
    schedule_options,
    slug,
)
from pretrain.presets import loss_preset

LANGUAGES = ('en', 'zh')


def result(variant: str, value: float) -> dict:
    """Every English metric is ``value``, every Chinese one is 10 higher."""
    metrics = {
        name.format(language): value + 10 * (language == 'zh')
        for name in COLUMNS.values()
        for language in LANGUAGES
    }
    return dict(variant=variant, metrics=metrics)


def test_every_variant_leaves_out_what_it_says():
    """From the default losses; captions stay, and a name has its own files."""
    full = loss_preset()
    without = {
        name: {
            term
            for term in ('short', 'long', 'fgv', 'fgt', 'tic', 'cmr')
            if getattr(full, term) and not getattr(loss_preset(**changes), term)
        }
        for name, changes in VARIANTS.items()
        if changes is not None
    }
    assert without == {
        'full': set(),
        'w/o FGV': {'fgv'},
        'w/o FGT': {'fgt'},
        'w/o TIC': {'tic'},
        'w/o CMR': {'cmr'},
        'w/o CMR, TIC': {'cmr', 'tic'},
        'paper': set(),
        'paper, mean TIC': set(),
        'released': set(),
    }
    of_config = dict(fgv=0.2, fgt=1.0)
    for preset in ('paper', 'released'):
        assert loss_preset(**of_config | VARIANTS[preset]) == loss_preset(preset)
    assert len({slug(name) for name in VARIANTS}) == len(VARIANTS)
    assert slug('w/o CMR, TIC') == 'wo-cmr-tic'
    assert find_variant('wo-cmr-tic') == find_variant('w/o CMR, TIC') == 'w/o CMR, TIC'
    with pytest.raises(ValueError, match="no variant 'w/o X'; there are full, w/o FGV"):
        find_variant('w/o X')


def test_schedule_is_scaled_as_a_whole():
    """A quarter of 100 iterations: warm-up 8 -> 2, decay from 40 to the end -> 10."""
    cfg = dict(
        train_cfg=dict(max_iters=100),
        param_scheduler=[
            dict(begin=0, end=8),
            dict(begin=40, end=100),
            dict(begin=8),
            dict(begin=0, end=1),
        ],
    )
    assert schedule_options(cfg, 1.0) == {}
    assert schedule_options(cfg, 0.25) == {
        'train_cfg.max_iters': 25,
        'param_scheduler.0.begin': 0,
        'param_scheduler.0.end': 2,
        'param_scheduler.1.begin': 10,
        'param_scheduler.1.end': 25,
        'param_scheduler.2.begin': 2,
        'param_scheduler.3.begin': 0,
        'param_scheduler.3.end': 1,  # an empty one is refused by MMEngine
    }
    assert schedule_options(cfg, 2)['train_cfg.max_iters'] == 200
    with pytest.raises(ValueError, match='without train_cfg'):
        schedule_options(dict(train_cfg=dict(max_epochs=3)), 0.5)
    with pytest.raises(ValueError, match='length must be more than 0, got 0'):
        schedule_options(cfg, 0)


def test_table_of_means_and_spread(tmp_path):
    """20, 30, 40 in English, 10 more in Chinese: mean 35, standard deviation 10."""
    results = [result('w/o TIC', 5.0), *(result('full', v) for v in (20.0, 30.0, 40.0))]
    table = collect(results)
    assert list(table) == ['full', 'w/o TIC']  # in the variants' order
    assert table['full']['hard novel'] == [25.0, 35.0, 45.0]
    head, _, full, without = format_markdown(table).splitlines()
    assert head.startswith('| losses | seeds | box base | box novel | hard base |')
    assert full == '| full | 3 |' + ' 35.0 ± 10.0 |' * len(COLUMNS)
    assert without == '| w/o TIC | 1 |' + ' 10.0 |' * len(COLUMNS)
    with Image.open(draw_table(table, tmp_path / 'table.png')) as picture:
        assert picture.width > 1000
    assert [path.name for path in tmp_path.iterdir()] == ['table.png']


def test_a_result_without_a_metric_is_named():
    metrics = result('full', 1.0)['metrics']
    del metrics['retrieval/long/zh/t2i']
    with pytest.raises(ValueError, match='lacks the metric retrieval/long/zh/t2i'):
        read_columns(metrics)
