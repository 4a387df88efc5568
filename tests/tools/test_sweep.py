"""Several configs, several seeds, one table; the trainings are stand-ins here."""

import json
from pathlib import Path

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det.engine.sweep import collect, run_config
from fgclip2_det.visualization.seed_tables import draw_table, format_markdown

TRAIN = """
import json, sys
from pathlib import Path
config, folder, seed = sys.argv[1], Path(sys.argv[3]), int(sys.argv[5])
assert sys.argv[2] == '--work-dir' and sys.argv[4] == '--seed'
calls = folder.parents[1] / 'calls.txt'
with open(calls, 'a') as file:
    file.write(' '.join([Path(config).stem, *sys.argv[5:]]) + '\\n')
if Path(config).stem == 'bad':
    sys.exit(3)
value = {'a': 0.9, 'b': 0.8}[Path(config).stem] + seed / 100
metrics = {'open_vocab/base_ap50': value, 'open_vocab/novel_ap50': value / 2}
(folder / 'metrics.json').write_text(json.dumps(metrics))
"""


@pytest.fixture
def train(tmp_path) -> Path:
    path = tmp_path / 'train.py'
    path.write_text(TRAIN)
    return path


@pytest.fixture
def write_config(tmp_path):
    """write_config('a') or write_config('a', 'x/y', lr=2): a config file."""

    def write(stem: str, folder: str = '.', lr: float = 1.0) -> Path:
        path = tmp_path / 'configs' / folder / f'{stem}.py'
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / 'base.py').write_text(f'model = dict(x=dict(y=0))\nlr = {lr}\n')
        path.write_text("_base_ = 'base.py'\n")
        return path

    return write


def test_runs_once_and_goes_on(tmp_path, train, write_config):
    config, out = write_config('a'), tmp_path / 'out'
    for _ in range(2):
        actual = run_config(config, 2, out, {'model.x.y': 3}, train)
        assert actual['open_vocab/base_ap50'] == pytest.approx(0.92)
    calls = (out / 'calls.txt').read_text().splitlines()
    assert calls == ['a 2 --resume --cfg-options model.x.y=3']
    with pytest.raises(ValueError, match=r'config.model.x.y is 3 there, 4 here'):
        run_config(config, 2, out, {'model.x.y': 4}, train)
    (out / 'a/seed2/sweep.json').write_text('{"seed": 2, "options": {}}')
    with pytest.raises(ValueError, match='config is None there'):  # an older record
        run_config(config, 2, out, {'model.x.y': 3}, train)


def test_another_config_of_the_same_name(tmp_path, train, write_config):
    """Its own text is the same; its base was edited, or lies in another folder."""
    out = tmp_path / 'out'
    run_config(write_config('a'), 0, out, {}, train)
    run_config(write_config('a', 'same'), 0, out, {}, train)  # the same run
    for folder in ('.', 'other'):
        with pytest.raises(ValueError, match=r'config.lr is 1.0 there, 2.0 here'):
            run_config(write_config('a', folder, lr=2.0), 0, out, {}, train)
    assert len((out / 'calls.txt').read_text().splitlines()) == 1


def test_a_failed_training(tmp_path, train, write_config):
    with pytest.raises(ValueError, match='exit code 3'):
        run_config(write_config('bad'), 0, tmp_path, {}, train)


def test_table(tmp_path):
    runs = {
        'a': [{'m/base_ap50': 0.9, 'm/novel_ap50': 0.5}, {'m/base_ap50': 0.8,
              'm/novel_ap50': 0.7}],
        'b': [{'m/base_ap50': 0.6, 'm/novel_ap50': 0.1}],
    }  # fmt: skip
    table = collect(runs, ['base_ap50', 'm/novel_ap50'])
    assert format_markdown(table).splitlines()[2:] == [
        '| a | 2 | 85.0 ± 7.1 | 60.0 ± 14.1 |',
        '| b | 1 | 60.0 | 10.0 |',
    ]
    assert draw_table(table, tmp_path / 'table.png').stat().st_size > 5000
    with pytest.raises(ValueError, match='agnostic'):
        collect(runs, ['agnostic_ap50'])


def test_command(tmp_path, train, write_config, monkeypatch, capsys):
    from fgclip2_det.cli import sweep

    monkeypatch.setattr(sweep, 'TRAIN', train)
    configs = [write_config('a'), write_config('b')]
    words = [*map(str, configs), '--seeds', '0', '1', '--work-dir']
    sweep.main(sweep.parser().parse_args([*words, str(tmp_path / 'out')]))
    assert '| b | 2 | 80.5 ± 0.7 | 40.2 ± 0.4 |' in capsys.readouterr().out
    saved = json.loads((tmp_path / 'out/sweep.json').read_text())
    assert saved['a']['base_ap50'] == pytest.approx([90, 91])
    with pytest.raises(FileNotFoundError, match='no config'):
        sweep.main(sweep.parser().parse_args(['c.py', '--work-dir', str(tmp_path)]))
