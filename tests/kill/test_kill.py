"""Commands that are stopped at a change of a file end as if nothing had happened.

A few points of each command here; all of them with ``FGCLIP2_KILL_POINTS=all``, as
``python tests/kill/killer.py`` does.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

HERE = Path(__file__).parent
# points of each command, spread over its events; a training takes seconds
POINTS = {
    'training': 1, 'alignment': 1, 'dump': 2, 're-scoring': 1, 'results': 2,
    'detections': 1, 'publish': 4, 'export': 2, 'vocabulary cache': 2,
    'feature cache': 6, 'shards': 6, 'hard negatives': 3, 'generation': 4,
    'reproduction': 1,
}  # fmt: skip


@pytest.fixture(scope='module')
def rows(tmp_path_factory) -> dict[str, dict]:
    """Command -> what came of it; all in forks of one process."""
    out = tmp_path_factory.mktemp('kill') / 'table.json'
    points = os.environ.get('FGCLIP2_KILL_POINTS', json.dumps(POINTS))
    done = subprocess.run(
        [sys.executable, str(HERE / 'killer.py'), '--points', points, '--out', out],
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
    )
    assert out.is_file(), done.stderr
    return {row['command']: row for row in json.loads(out.read_text())}


@pytest.mark.parametrize('command', POINTS)
def test_restarted_equals_undisturbed(rows, command):
    row = rows[command]
    assert row['faults'] == []
    assert row['equal'] == row['points'] > 0
