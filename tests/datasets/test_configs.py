"""The dataset configs load, build and evaluate; truth as prediction scores 1."""

from pathlib import Path

import pytest
from mmdet.registry import DATASETS, METRICS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from fgclip2_det.coco.published_splits import (
    OV_COCO_BASE_CLASSES,
    OV_COCO_NOVEL_CLASSES,
)
from fgclip2_det.engine.metrics.open_vocab_coco_metric import OpenVocabCocoMetric

CONFIGS = Path(__file__).parents[2] / 'configs/_base_'

NAMES = [f'{g}_{m}' for g in ('base', 'novel', 'all') for m in ('ap50', 'ap')]
NAMES.append('agnostic_ap50')


def load(name: str, changes: dict | None = None) -> Config:
    config = Config.fromfile(CONFIGS / f'datasets/{name}.py')
    config.merge_from_dict(changes or {})
    return config


def truth_as_prediction(config: Config) -> tuple[dict, dict, dict]:
    """Metrics when val's ground truth is predicted; metainfo of train and val."""
    train = DATASETS.build(config.train_dataloader.dataset)
    batch = pseudo_collate([train[0]])
    height, width = batch['inputs'][0].shape[1:]
    assert height % 16 == width % 16 == 0
    dataset = DATASETS.build(config.val_dataloader.dataset)
    metric = METRICS.build(config.val_evaluator)
    assert isinstance(metric, OpenVocabCocoMetric)
    metric.dataset_meta = dataset.metainfo
    for i in range(len(dataset)):
        data_sample = dataset[i]['data_samples']
        truth = data_sample.gt_instances
        data_sample.pred_instances = type(truth)(
            bboxes=truth.bboxes, labels=truth.labels, scores=truth.labels * 0 + 0.5
        )
        metric.process({}, [data_sample.to_dict()])
    return metric.evaluate(len(dataset)), train.metainfo, dataset.metainfo


def test_default_runtime():
    config = Config.fromfile(
        CONFIGS / 'default_runtime.py', import_custom_modules=False
    )
    assert config.default_scope == 'mmdet'
    assert config.custom_imports.imports == ['fgclip2_det.registration']


@pytest.mark.parametrize('num_patches', [256, 100])
def test_ovshapes(tmp_path, monkeypatch, num_patches):
    monkeypatch.setenv('OVSHAPES_ROOT', str(tmp_path))
    options = {'num_train': 4, 'num_val': 20, 'image_size': 128}
    changes = {
        f'{part}_dataloader.dataset.{key}': value
        for part in ('train', 'val')
        for key, value in options.items()
    }
    config = load('ovshapes', changes)
    config.val_dataloader.dataset.pipeline[1].max_num_patches = num_patches
    metrics, train_meta, meta = truth_as_prediction(config)
    assert metrics == {f'open_vocab/{k}': 1 for k in NAMES}
    assert train_meta == meta and len(meta['classes']) == 65


def test_chess(shared, monkeypatch):
    monkeypatch.setenv('CHESS_ROOT', str(shared / 'data/chess'))
    metrics, train_meta, meta = truth_as_prediction(load('chess'))
    assert metrics.keys() == {f'open_vocab/{k}' for k in NAMES}
    assert metrics['open_vocab/novel_ap'] > 0.99
    assert train_meta == meta and len(meta['base_classes']) == 9


def test_ov_coco(shared, monkeypatch):
    monkeypatch.setenv('COCO_ROOT', str(shared / 'data/coco'))
    ann_file = 'annotations/val_all80.json'
    changes = {
        'train_dataloader.dataset.ann_file': 'annotations/train_all80.json',
        'train_dataloader.dataset.data_prefix.img': 'images/train2017/',
        'val_dataloader.dataset.ann_file': ann_file,
        'val_dataloader.dataset.data_prefix.img': 'images/val2017/',
        'val_dataloader.dataset.indices': 20,
        'val_evaluator.ann_file': str(shared / 'data/coco' / ann_file),
    }
    metrics, train_meta, meta = truth_as_prediction(load('ov_coco', changes))
    assert metrics['open_vocab/all_ap'] > 0.99
    assert train_meta == meta
    assert meta['classes'] == OV_COCO_BASE_CLASSES + OV_COCO_NOVEL_CLASSES
