"""Annotations without a mask among some with one."""

import json

import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from mmengine.logging import MMLogger
from PIL import Image

from fgclip2_det.datasets import OpenVocabCocoDataset

TRAIN = [
    dict(type='OpenVocabLoadImage'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='RandomCrop', crop_size=(160, 96), recompute_bbox=True,
        allow_negative_crop=True,
    ),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-2, 1e-2), keep_empty=False),
    dict(type='PackDetInputs'),
]  # fmt: skip
SQUARE = [[20, 10, 50, 10, 50, 40, 20, 40]]


@pytest.fixture
def logged(monkeypatch) -> list[str]:
    """Warnings of MMEngine's logger."""
    lines = []
    logger = MMLogger.get_current_instance()
    monkeypatch.setattr(logger, 'warning', lines.append)
    return lines


def build(folder, masks: list, pipeline=TRAIN, kind=OpenVocabCocoDataset):
    """One image, a box of 30 x 30 for each of the masks."""
    pixels = np.random.default_rng(0).integers(0, 256, (96, 160, 3), np.uint8)
    Image.fromarray(pixels).save(folder / '1.png')
    annotations = [
        dict(id=40 + i, image_id=1, category_id=1, bbox=[20 + 40 * i, 10, 30, 30],
             area=900, iscrowd=0, segmentation=mask)
        for i, mask in enumerate(masks)
    ]  # fmt: skip
    if masks[-1] is None:
        del annotations[-1]['segmentation']
    coco = dict(
        images=[dict(id=1, file_name='1.png', width=160, height=96)],
        categories=[dict(id=1, name='cat')],
        annotations=annotations,
    )
    (folder / 'ann.json').write_text(json.dumps(coco))
    classes = dict(classes=('cat',))
    return kind(
        data_root=str(folder), ann_file='ann.json', pipeline=pipeline,
        metainfo=classes, data_prefix=dict(img=''),
    )  # fmt: skip


@pytest.mark.parametrize('kind', [OpenVocabCocoDataset, CocoDataset])
@pytest.mark.parametrize('missing', [[], [[]], [[60, 10, 90, 40]], None])
def test_an_instance_without_mask_is_ignored(tmp_path, logged, missing, kind):
    """Its box stays, so that what is there is not taken for background."""
    dataset = build(tmp_path, [SQUARE, missing], kind=kind)
    sample = dataset[0]['data_samples']
    assert sample.gt_instances.bboxes.tensor.tolist() == [[20, 10, 50, 40]]
    assert sample.gt_instances.masks.areas.tolist() == [900]
    assert sample.ignored_instances.bboxes.tensor.tolist() == [[60, 10, 90, 40]]
    (line,) = logged
    assert '1 of 2 annotations have no mask (the first in image 1)' in line


def test_boxes_alone_need_no_mask(tmp_path, logged):
    boxes = [step | {} for step in TRAIN if step['type'] != 'RandomCrop']
    boxes[1] = dict(type='LoadAnnotations', with_bbox=True)
    dataset = build(tmp_path, [SQUARE, []], boxes)
    assert len(dataset[0]['data_samples'].gt_instances) == 2 and not logged


@pytest.mark.parametrize('kind', [OpenVocabCocoDataset, CocoDataset])
def test_no_mask_at_all_is_another_kind_of_file(tmp_path, kind):
    with pytest.raises(ValueError, match='none of its 2 annotations has a mask'):
        build(tmp_path, [[], None], kind=kind)
