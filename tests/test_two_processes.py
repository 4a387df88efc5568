"""A detector on two processes trains as on one."""

from pathlib import Path

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

from tests.processes import losses_of_one_and_two

ROOT = Path(__file__).resolve().parents[1]


def test_losses_of_two_processes_are_those_of_one(tmp_path):
    """Means over boxes, too, whose number differs from process to process."""
    words = [ROOT / 'configs/ovshapes/ovd_fgclip2_finetuned.py', '--iterations', 3]
    words += ['--batch', 4, '--fixed-proposals', '--cfg-options', 'num_train=12']
    words += ['num_val=4', 'image_size=96', 'max_num_patches=64']
    words.append('model.train_cfg.rcnn.sampler.num=512')  # more than there are
    words.append('model.roi_head.bbox_head.hard_names.num=5')
    root = str(tmp_path / 'data')
    result = losses_of_one_and_two(words, tmp_path, OVSHAPES_ROOT=root)
    assert len(result[1]['losses']) == len(result[2]['losses']) == 3
    assert result[1]['losses'][0] != result[1]['losses'][-1]
    assert result['largest relative difference'] < 1e-5
