"""The preprocessor: NaN beside images, masks and maps padded, batches augmented."""

import random

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.logging import MessageHub
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData, PixelData

from fgclip2_det.models import FGCLIP2DetDataPreprocessor, FGCLIP2ViT

SIZES = [(96, 160), (128, 80)]  # h, w


@pytest.fixture(autouse=True)
def scope() -> None:
    init_default_scope('mmdet')


def batch() -> dict:
    """Images with one mask of ones and a map of threes over all of each."""
    generator = torch.Generator().manual_seed(0)
    inputs, samples = [], []
    for h, w in SIZES:
        image = torch.randint(0, 256, (3, h, w), generator=generator)
        inputs.append(image.to(torch.uint8))
        sample = DetDataSample(metainfo=dict(img_shape=(h, w)))
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[0.0, 0, w, h]]),
            masks=BitmapMasks(np.ones((1, h, w), np.uint8), h, w),
        )
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
        sample.gt_sem_seg = PixelData(sem_seg=torch.full((1, h, w), 3))
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def check_targets(samples: list[DetDataSample], size: tuple[int, int]) -> None:
    """Masks end in zeros, maps in 255; none is moved."""
    for sample, (h, w) in zip(samples, SIZES, strict=True):
        assert sample.batch_input_shape == size
        mask = sample.gt_instances.masks.masks[0]
        seg = sample.gt_sem_seg.sem_seg[0]
        assert mask.shape == tuple(seg.shape) == size
        assert mask[:h, :w].all() and mask.sum() == h * w
        assert (seg[:h, :w] == 3).all() and (seg == 255).sum() == seg.numel() - h * w


def test_masks_and_maps_are_padded_like_images():
    preprocessor = FGCLIP2DetDataPreprocessor(
        pad_size_divisor=32, pad_mask=True, pad_seg=True
    )
    data = preprocessor(batch(), training=True)
    assert data['inputs'].shape == (2, 3, 128, 160)
    check_targets(data['data_samples'], (128, 160))
    for image, (h, w) in zip(data['inputs'], SIZES, strict=True):
        assert image[:, :h, :w].isfinite().all()
        assert image.isnan().sum() == 3 * (128 * 160 - h * w)


@torch.no_grad()
def test_fixed_size_adds_nothing_to_images():
    """Mask2Former's augmentation names 0, a grey that would count as image."""
    pad = dict(
        type='BatchFixedSizePad', size=(160, 192), img_pad_value=0, pad_mask=True,
        pad_seg=True,
    )  # fmt: skip
    preprocessor = FGCLIP2DetDataPreprocessor(
        pad_size_divisor=32, pad_mask=True, pad_seg=True, batch_augments=[pad]
    )
    data = preprocessor(batch(), training=True)
    assert data['inputs'].shape == (2, 3, 160, 192)
    check_targets(data['data_samples'], (160, 192))
    backbone = FGCLIP2ViT(dict(size='tiny', seed=5)).eval()
    assert backbone.grid_sizes(data['inputs']) == [(6, 10), (8, 5)]
    (maps,) = backbone(data['inputs'])
    for i, (h, w) in enumerate([(6, 10), (8, 5)]):
        (alone,) = backbone(data['inputs'][i : i + 1, :, : h * 16, : w * 16])
        actual = maps[i : i + 1, :, :h, :w]
        torch.testing.assert_close(actual, alone, atol=1e-5, rtol=1e-4)
    assert preprocessor(batch())['inputs'].shape == (2, 3, 128, 160)  # not in testing


def check_resized(data: dict, scale: float) -> None:
    """The real part of an image ends at most a few pixels before it should."""
    for image, sample in zip(data['inputs'], data['data_samples'], strict=True):
        real = image[0].isfinite()
        for side, lines in enumerate((real[:, 0], real[0])):
            lost = sample.img_shape[side] - int(lines.sum())
            assert 0 <= lost <= np.ceil(scale), (sample.img_shape, lost)
            assert lines[: lines.sum()].all()


def test_resize_keeps_padding_apart():
    """CrowdDet's: 128 x 160 to 200 x 250, padded to 224 x 256."""
    resize = dict(type='BatchResize', scale=(200, 400), pad_size_divisor=32)
    preprocessor = FGCLIP2DetDataPreprocessor(
        pad_size_divisor=32, batch_augments=[resize]
    )
    data = preprocessor(batch(), training=True)
    assert data['inputs'].shape == (2, 3, 224, 256)
    assert data['inputs'][:, :, 200:].isnan().all()
    check_resized(data, 200 / 128)


def test_random_resize_keeps_padding_apart():
    """YOLOX's: the size drawn in one step is that of the next."""
    hub = MessageHub.get_instance('test_random_resize', runtime_info={'iter': 0})
    assert MessageHub.get_current_instance() is hub
    random.seed(0)
    resize = dict(
        type='BatchSyncRandomResize', random_size_range=(256, 320), interval=1
    )
    preprocessor = FGCLIP2DetDataPreprocessor(
        pad_size_divisor=32, batch_augments=[resize]
    )
    assert preprocessor(batch(), training=True)['inputs'].shape[2] == 128
    data = preprocessor(batch(), training=True)
    height = data['inputs'].shape[2]
    assert height in (256, 288, 320)
    check_resized(data, height / 128)
