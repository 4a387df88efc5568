"""A config that trains in seconds: a one-channel-wide RetinaNet on four images."""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]

CONFIG = """
default_scope = 'mmdet'
custom_imports = dict(imports=['fgclip2_det.registration'], allow_failed_imports=False)
model = dict(
    type='RetinaNet',
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[120] * 3, std=[60] * 3, bgr_to_rgb=True,
        pad_size_divisor=32),
    backbone=dict(
        type='ResNet', depth=18, base_channels=8, out_indices=(2, 3),
        norm_cfg=dict(type='BN')),
    neck=dict(type='FPN', in_channels=[32, 64], out_channels=16, num_outs=3),
    bbox_head=dict(
        type='RetinaHead', num_classes=2, in_channels=16, feat_channels=16,
        stacked_convs=1,
        anchor_generator=dict(
            type='AnchorGenerator', octave_base_scale=2, scales_per_octave=1,
            ratios=[1.0], strides=[16, 32, 64]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True),
        loss_bbox=dict(type='L1Loss')),
    train_cfg=dict(
        assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4,
                      min_pos_iou=0, ignore_iof_thr=-1),
        sampler=dict(type='PseudoSampler'), allowed_border=-1, pos_weight=-1),
    test_cfg=dict(nms_pre=100, min_bbox_size=0, score_thr=0.0,
                  nms=dict(type='nms', iou_threshold=0.5), max_per_img=20))
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomResize', scale=(160, 96), ratio_range=(0.6, 1.4)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackDetInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(160, 96), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=(
        'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]
dataset = dict(type='CocoDataset', ann_file=r'{data}/ann.json',
               data_prefix=dict(img=r'{data}'),
               metainfo=dict(classes=('black cat', '白色杯子')))
train_dataloader = dict(
    batch_size=2, num_workers={workers}, persistent_workers={workers} > 0,
    sampler=dict(type='{sampler}', shuffle=True),
    dataset=dict(pipeline=pipeline, **dataset))
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(pipeline=test_pipeline, test_mode=True, **dataset))
test_dataloader = val_dataloader
val_evaluator = dict(type='CocoMetric', ann_file=r'{data}/ann.json', metric='bbox')
test_evaluator = val_evaluator
train_cfg = {train_cfg}
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper',
                     optimizer=dict(type='AdamW', lr=3e-3))
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=20)]
default_hooks = dict(
    timer=dict(type='IterTimerHook'), logger=dict(type='LoggerHook', interval=1),
    param_scheduler=dict(type='ParamSchedulerHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    checkpoint=dict(type='CheckpointHook', {checkpoint}, max_keep_ckpts=2))
custom_hooks = [dict(type='EMAHook', momentum=0.1)]
env_cfg = dict(mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
visualizer = dict(type='DetLocalVisualizer', name='{name}',
                  vis_backends=[dict(type='LocalVisBackend')])
log_processor = dict(type='LogProcessor', window_size=1, by_epoch={by_epoch})
"""
BY_EPOCH = {
    'train_cfg': "dict(type='EpochBasedTrainLoop', max_epochs=8, val_interval=4)",
    'sampler': 'DefaultSampler',
    'checkpoint': 'interval=1',
    'by_epoch': True,
}
BY_ITER = {
    'train_cfg': "dict(type='IterBasedTrainLoop', max_iters=16, val_interval=8)",
    'sampler': 'InfiniteSampler',
    'checkpoint': 'interval=3, by_epoch=False',
    'by_epoch': False,
}


@pytest.fixture(scope='session')
def coco_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four 96 x 160 images with two coloured boxes each, and ann.json."""
    folder = tmp_path_factory.mktemp('coco')
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for i in range(4):
        pixels = rng.integers(100, 160, (96, 160, 3), dtype=np.uint8)
        for category, color in enumerate([(20, 20, 25), (250, 250, 245)]):
            x, y = int(rng.integers(0, 50)) + 70 * category, int(rng.integers(0, 50))
            w, h = (int(side) for side in rng.integers(24, 40, 2))
            pixels[y : y + h, x : x + w] = color
            annotation = {'id': 2 * i + category + 1, 'image_id': i, 'iscrowd': 0}
            annotation |= {'category_id': category, 'bbox': [x, y, w, h]}
            annotations.append(annotation | {'area': w * h})
        Image.fromarray(pixels).save(folder / f'{i}.png')
        images.append({'id': i, 'file_name': f'{i}.png', 'height': 96, 'width': 160})
    names = ('black cat', '白色杯子')
    categories = [{'id': i, 'name': name} for i, name in enumerate(names)]
    content = {'images': images, 'annotations': annotations, 'categories': categories}
    (folder / 'ann.json').write_text(json.dumps(content))
    return folder


@pytest.fixture
def write_config(coco_data: Path, tmp_path: Path) -> Callable[..., Path]:
    """write_config(name='tiny', workers=0, by_epoch=True) -> path of a config."""

    def write(name: str = 'tiny', workers: int = 0, by_epoch: bool = True) -> Path:
        values = BY_EPOCH if by_epoch else BY_ITER
        values = values | {'data': coco_data, 'workers': workers, 'name': name}
        text = CONFIG
        for key, value in values.items():
            text = text.replace(f'{{{key}}}', str(value))
        path = tmp_path / f'{name}.py'
        path.write_text(text, encoding='utf-8')
        return path

    return write


def forget_runs() -> None:
    """Loggers, hubs and visualizers, which MMEngine keeps by the second of their run: a
    second run of it would get those of the first."""
    if 'mmengine' not in sys.modules:
        return
    from mmengine.registry import DefaultScope
    from mmengine.utils import ManagerMixin

    kinds = [ManagerMixin]
    for kind in kinds:
        kinds += kind.__subclasses__()
        if kind is not DefaultScope:
            kind._instance_dict.clear()


@pytest.fixture
def run_tool(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture,
) -> Callable[..., tuple[int, str, str]]:
    """run_tool('test', 'config.py', ...) -> (exit code, stdout, stderr).

    In this process, which has paid for the imports already.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / 'tools')

    def run(name: str, *args: object) -> tuple[int, str, str]:
        path = str(ROOT / 'tools' / f'{name}.py')
        monkeypatch.setattr(sys, 'argv', [path, *map(str, args)])
        threads = torch.get_num_threads()
        code = 0
        try:
            runpy.run_path(path, run_name='__main__')
        except SystemExit as stop:
            code = stop.code or 0
        torch.set_num_threads(threads)
        forget_runs()
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def rescore_words(tmp_path: Path) -> list:
    """Options of tools/rescore.py for an image, a.png, with a box of two names."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'a.png')
    coco = dict(
        images=[dict(id=1, file_name='a.png', width=96, height=64)],
        categories=[dict(id=k, name=n) for k, n in ((4, 'red star'), (2, 'ring'))],
    )
    rows = [
        dict(image_id=1, category_id=k, bbox=[8, 8, 30, 40], score=s)
        for k, s in ((4, 0.8), (2, 0.4))
    ]
    (tmp_path / 'ann.json').write_text(json.dumps(coco))
    (tmp_path / 'rows.json').write_text(json.dumps(rows))
    return [
        '--predictions', tmp_path / 'rows.json', '--ann', tmp_path / 'ann.json',
        '--images', tmp_path,
    ]  # fmt: skip
