"""Several configs, several seeds, one table; the trainings are stand-ins here."""

import json
from pathlib import Path

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from fgclip2_det.engine.sweep import collect, draw_table, format_markdown, run_config

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


def test_runs_once_and_goes_on(tmp_path, train):
    for _ in range(2):
        found = run_config(Path('a.py'), 2, tmp_path, {'x.y': 3}, train)
        assert found['open_vocab/base_ap50'] == pytest.approx(0.92)
    calls = (tmp_path / 'calls.txt').read_text().splitlines()
    assert calls == ['a 2 --resume --cfg-options x.y=3']
    with pytest.raises(ValueError, match='other options'):
        run_config(Path('a.py'), 2, tmp_path, {'x.y': 4}, train)


def test_a_failed_training(tmp_path, train):
    with pytest.raises(ValueError, match='exit code 3'):
        run_config(Path('bad.py'), 0, tmp_path, {}, train)


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


def test_command(tmp_path, train, monkeypatch, capsys):
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2] / 'tools')
    import sweep

    monkeypatch.setattr(sweep, 'TRAIN', train)
    configs = [tmp_path / 'a.py', tmp_path / 'b.py']
    for config in configs:
        config.write_text('')
    words = [*map(str, configs), '--seeds', '0', '1', '--work-dir']
    sweep.main(sweep.parser().parse_args([*words, str(tmp_path / 'out')]))
    assert '| b | 2 | 80.5 ± 0.7 | 40.2 ± 0.4 |' in capsys.readouterr().out
    saved = json.loads((tmp_path / 'out/sweep.json').read_text())
    assert saved['a']['base_ap50'] == pytest.approx([90, 91])
    with pytest.raises(FileNotFoundError, match='no config'):
        sweep.main(sweep.parser().parse_args(['c.py', '--work-dir', str(tmp_path)]))
