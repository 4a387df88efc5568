"""Order of classes, through tools/test.py: an always-right detector under a re-scorer.

Without the check its mAP was 1 in the file's order, 0 in any other.
"""

import json

import pytest

pytest.importorskip('mmdet', reason='needs the mm packages: pip install -e .[mm]')

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

NAMES = ['black cat', '白色杯子']  # in the file's order


def rescorer(write_config, coco_data, tmp_path, classes: list[str]) -> Config:
    """Saved predictions that are the ground truth, re-scored without changing it."""
    rows = [
        dict(image_id=a['image_id'], category_id=a['category_id'], bbox=a['bbox'],
             score=1.0)
        for a in json.loads((coco_data / 'ann.json').read_text())['annotations']
    ]  # fmt: skip
    (tmp_path / 'rows.json').write_text(json.dumps(rows))
    cfg = Config.fromfile(write_config())
    cfg.model = dict(
        type='FGCLIP2Rescorer', encoder=dict(pretrained='fgclip2_tiny'),
        detector=dict(type='SavedPredictions', predictions=f'{tmp_path}/rows.json',
                      ann_file=f'{coco_data}/ann.json'),
    )  # fmt: skip
    cfg.custom_hooks = [dict(type='OpenVocabVocabularyHook')]
    cfg.test_dataloader.dataset.metainfo = dict(classes=classes)
    cfg.dump(tmp_path / 'rescorer.py')
    return cfg


def test_the_order_of_the_file_or_an_error(write_config, run_tool, coco_data, tmp_path):
    path = tmp_path / 'rescorer.py'
    rescorer(write_config, coco_data, tmp_path, NAMES)
    code, _, err = run_tool('test', path, '--work-dir', tmp_path / 'w')
    assert code == 0, err
    metrics = json.loads((tmp_path / 'w' / 'metrics.json').read_text())
    assert metrics['coco/bbox_mAP'] == 1
    rescorer(write_config, coco_data, tmp_path, NAMES[::-1])
    code, _, err = run_tool('test', path, '--work-dir', tmp_path / 'v')
    assert code == 2
    assert "0 '白色杯子', 1 'black cat' and 0 'black cat', 1 '白色杯子'" in err


def test_novel_classes_under_a_metric_of_mmdetection(
    write_config, run_tool, coco_data, tmp_path
):
    """Base before novel is not the order that ``CocoMetric`` counts in."""
    cfg = Config.fromfile(write_config())
    dataset = cfg.test_dataloader.dataset
    dataset.update(type='OpenVocabCocoDataset', novel_classes=NAMES[:1])
    del dataset['metainfo']
    cfg.custom_hooks = []
    cfg.dump(tmp_path / 'novel.py')
    init_default_scope('mmdet')
    weights = MODELS.build(cfg.model).state_dict()
    torch.save(dict(state_dict=weights), tmp_path / 'detector.pth')
    code, _, err = run_tool('test', tmp_path / 'novel.py', tmp_path / 'detector.pth')
    assert code == 2 and 'OpenVocabCocoMetric, which matches names' in err
