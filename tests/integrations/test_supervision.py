"""supervision's annotators, slicer, tracker and exports."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')
pytest.importorskip('supervision', reason='pip install supervision')

import cv2
import supervision as sv

ROOT = Path(__file__).resolve().parents[2]
NAMES = 'red circle; 蓝色正方形'


def test_supervision_exports_a_folder(shapes, tmp_path, monkeypatch):
    out = tmp_path / 'found'
    monkeypatch.setattr(
        sys, 'argv', ['', str(shapes), '--names', NAMES, '--out', str(out)]
    )
    runpy.run_path(str(ROOT / 'integrations/supervision_tools.py'), run_name='__main__')
    content = json.loads((out / 'coco.json').read_text())
    assert [each['name'] for each in content['categories']] == NAMES.split('; ')
    read = sv.DetectionDataset.from_yolo(
        str(shapes), str(out / 'yolo/labels'), str(out / 'yolo/data.yaml')
    )
    assert read.classes == NAMES.split('; ')
    ((_, _, found),) = list(read)
    assert found.class_id.tolist() == [0, 1]
    drawn = cv2.imread(str(out / 'drawn' / 'shapes.png'))
    assert drawn.shape == (200, 300, 3)
    assert not np.array_equal(drawn, cv2.imread(str(shapes / 'shapes.png')))


def test_supervision_draws_over_no_input(bridge, shapes, tmp_path):
    tools = bridge('supervision_tools.py', 'supervision', 'real')
    drawn = tmp_path / 'drawn'
    drawn.mkdir()
    content = (shapes / 'shapes.png').read_bytes()
    (drawn / 'shapes.png').write_bytes(content)
    labelled = tools.label(tools.NamedDetector({'names': NAMES}, {}), drawn)
    with pytest.raises(ValueError, match=r'shapes\.png would be written over'):
        tools.export(labelled, tmp_path)
    assert (drawn / 'shapes.png').read_bytes() == content


def test_supervision_slicer_and_folder_without_images(bridge, large, tmp_path):
    module = bridge('supervision_tools.py', 'supervision', 'real')
    detector = module.NamedDetector({'names': NAMES, 'score_thr': 0.4})
    frame = cv2.imread(str(large))
    slicer = sv.InferenceSlicer(lambda part: module.detect(detector, part), 256)
    assert set(slicer(frame).data['class_name']) == set(NAMES.split('; '))
    with pytest.raises(ValueError, match='there are no images right in'):
        module.label(detector, tmp_path)


def test_supervision_tracks_a_video(bridge, shapes, tmp_path):
    pytest.importorskip('trackers', reason='pip install trackers')
    module = bridge('supervision_tools.py', 'supervision', 'real')
    frame = cv2.imread(str(shapes / 'shapes.png'))
    path = str(tmp_path / 'moving.mp4')
    with sv.VideoSink(path, sv.VideoInfo(300, 200, 10)) as sink:
        for shift in range(0, 24, 4):
            sink.write_frame(np.roll(frame, shift, 1))
    detector = module.NamedDetector({'names': NAMES})
    ids = [f.tracker_id.tolist() for _, f in module.track(detector, path)]
    assert len(ids) == 6
    assert ids[-1] == ids[2] and len(set(ids[-1])) == 2
