"""tools/model_cost.py as a user calls it."""

import json

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')


def test_table_and_file(run_tool, tmp_path):
    options = ['--sizes', 'tiny', '--resolutions', 96, 200, '--window', 4]
    options += ['--global-blocks', 1, '--train', '--out', tmp_path / 'cost.json']
    code, out, err = run_tool('model_cost', *options)
    assert code == 0, err
    lines = [line for line in out.splitlines() if line.startswith('|')]
    assert len(lines) == 6 and len({line.count('|') for line in lines}) == 1
    assert 'windows of 4, 1 global' in lines[3] and '13 x 13' in lines[4]
    rows = json.loads((tmp_path / 'cost.json').read_text())
    assert [(r['resolution'], r['window_size']) for r in rows] == [
        (96, 0), (96, 4), (200, 0), (200, 4)
    ]  # fmt: skip
    for row in rows:
        assert row['inference'] < row['training_cp'] < row['training']
        assert f'{row["flops"]["total"] / 1e9:,.0f}' in out


def test_too_many_global_blocks(run_tool):
    code, _, err = run_tool('model_cost', '--sizes', 'tiny', '--window', 4)
    assert code == 2
    assert err.splitlines()[-1].startswith('error: tiny has 4 blocks: 1 to 3 of them')


def test_help_shows_an_example(run_tool):
    code, out, _ = run_tool('model_cost', '--help')
    assert code == 0
    assert 'python tools/model_cost.py --sizes base large' in out
