"""Ids of the result list and of images from several files."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

import fgclip2_det.registration  # isort: skip
from mmengine.logging import MMLogger

from fgclip2_det.engine.metrics.open_vocab_coco_metric import OpenVocabCocoMetric

BOX = np.array([[10, 10, 40, 40]], float)


def sample(image_id: int, label: int, path: str = '') -> dict:
    truth = dict(bboxes=BOX, labels=np.array([label]))
    actual = truth | dict(scores=np.array([0.9]))
    return dict(img_id=image_id, img_path=path, pred_instances=actual,
                gt_instances=truth)  # fmt: skip


def metric_of(meta: dict, **options) -> OpenVocabCocoMetric:
    metric = OpenVocabCocoMetric(**options)
    metric.dataset_meta = dict(classes=('cat', 'dog'), novel_classes=('dog',)) | meta
    return metric


def test_ids_nobody_told_are_not_made_up(tmp_path: Path):
    metric = metric_of({}, outfile_prefix=str(tmp_path / 'r'))
    with pytest.raises(ValueError, match=r"'s category ids, .*ann_file"):
        metric.process({}, [sample(1, 0)])
    metric = metric_of(dict(category_ids=(7, 3)), outfile_prefix=str(tmp_path / 'r'))
    metric.process({}, [sample(1, 0), sample(2, 1)])
    metric.evaluate(2)
    rows = json.loads((tmp_path / 'r.bbox.json').read_text())
    assert [row['category_id'] for row in rows] == [7, 3]
    metric = metric_of({})  # without a file no id is needed
    metric.process({}, [sample(1, 0)])
    assert metric.evaluate(1)['open_vocab/base_ap50'] == pytest.approx(1)


def test_classes_without_category_are_left_out(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'warning', lines.append)
    metric = metric_of(dict(category_ids=(7, None)), outfile_prefix=str(tmp_path / 'r'))
    metric.process({}, [sample(1, 0), sample(2, 1)])
    metric.evaluate(2)
    rows = json.loads((tmp_path / 'r.bbox.json').read_text())
    assert [row['category_id'] for row in rows] == [7]
    assert len(lines) == 1 and '1 of 2 detections are of classes' in lines[0]


def test_images_of_two_files_may_share_ids(tmp_path):
    """Both count: the second's object is not found, so precision stays, recall halves.

    One of two found at precision 1: AP50 is 51 of 101 recall points.
    """
    lost = sample(1, 0, 'b/1.png')
    lost['pred_instances'] = dict(bboxes=BOX + 50, labels=[0], scores=[0.1])
    samples = [sample(1, 0, 'a/1.png'), lost, sample(1, 0, 'a/1.png')]
    metric = metric_of({})
    metric.process({}, samples)
    assert metric.evaluate(3)['open_vocab/base_ap50'] == pytest.approx(51 / 101)
    metric = metric_of(dict(category_ids=(7, 3)), outfile_prefix=str(tmp_path / 'r'))
    metric.process({}, samples)
    with pytest.raises(ValueError, match="id 1 is used for 'a/1"):
        metric.evaluate(3)
