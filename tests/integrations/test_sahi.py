"""SAHI's model type and command line."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

ROOT = Path(__file__).resolve().parents[2]
NAMES = 'red circle; 蓝色正方形'


def test_sahi_slices_with_the_model_type(bridge, large):
    module = bridge('sahi_model_type.py', 'sahi', 'real')
    from sahi import AutoDetectionModel
    from sahi.predict import get_sliced_prediction

    module.register()
    model = AutoDetectionModel.from_pretrained(
        'fgclip2', names={'red circle': 'disk', '蓝色正方形': '方块'},
        confidence_threshold=0.4,
    )  # fmt: skip
    found = get_sliced_prediction(str(large), model, 256, 256, verbose=0)
    rows = sorted(
        (each.category.name, [round(v) for v in each.bbox.to_xyxy()])
        for each in found.object_prediction_list
    )
    assert [name for name, _ in rows] == ['disk', '方块']
    assert np.allclose(rows[1][1], (420, 220, 500, 300), atol=24)


def test_sahi_command_line(large, tmp_path, monkeypatch):
    pytest.importorskip('sahi', reason='pip install sahi')
    script = str(ROOT / 'integrations' / 'sahi_model_type.py')
    monkeypatch.setenv('FGCLIP2_NAMES', NAMES)
    words = ['predict', '--source', str(large.parent), '--slice_height', '256',
             '--slice_width', '256', '--project', str(tmp_path), '--novisual',
             '--export_crop']  # fmt: skip
    monkeypatch.setattr(sys, 'argv', [script, *words])
    runpy.run_path(script, run_name='__main__')
    assert len(list((tmp_path / 'exp').rglob('*.png'))) == 2
