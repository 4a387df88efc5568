"""A detector on two processes trains as on one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    'config', ['ovd_fgclip2.py', 'ovshapes/ovd_fgclip2_finetuned.py']
)
def test_losses_of_two_processes_are_those_of_one(tmp_path, config):
    """Means over boxes, too, whose number differs from process to process."""
    out = tmp_path / 'result.json'
    command = [sys.executable, '-m', 'benchmarks.processes']
    command += [f'configs/{config}', '--iterations', '3', '--batch', '4']
    command += ['--fixed-proposals', '--threads', '1', '--out', str(out)]
    command += ['--cfg-options', 'num_train=12']
    command += ['num_val=4', 'image_size=96', 'max_num_patches=64']
    command.append('model.train_cfg.rcnn.sampler.num=512')  # more than there are
    if 'finetuned' in config:
        command.append('model.roi_head.bbox_head.hard_names.num=5')
    environment = {**os.environ, 'OVSHAPES_ROOT': str(tmp_path / 'data')}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(out.read_text())
    assert len(result['1']['losses']) == len(result['2']['losses']) == 3
    assert result['1']['losses'][0] != result['1']['losses'][-1]
    assert result['largest relative difference'] < 1e-5
