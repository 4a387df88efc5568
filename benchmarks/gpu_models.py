"""Small random models and data on which devices are compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

import fgclip2_det.registration  # isort: skip  (before mmdet: it brings the ops)
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.structures import InstanceData
from PIL import Image
from torch import nn

from fgclip2_det import Vocabulary
from pretrain.data import AlignmentBatch, AlignmentCollate, Sample
from pretrain.model import FGCLIP2Alignment

ROOT = Path(__file__).resolve().parents[1]
NAMES = ['red circle', 'blue square', '绿色星形']
SIZES = [(96, 160), (128, 96)]  # h, w


def noise_images(sizes: Sequence[tuple[int, int]] = SIZES) -> list[np.ndarray]:
    """Noise of (h, w) pixels."""
    draw = np.random.default_rng(0)
    return [draw.integers(0, 256, (*size, 3), np.uint8) for size in sizes]


def detector(masks: bool) -> nn.Module:
    """The two-stage detector around the tiny encoder, everything trained along."""

    folder = ROOT / 'configs/_base_/models'
    cfg = Config.fromfile(folder / 'fgclip2-det_tiny_sfpn.py').model
    cfg.backbone.encoder = dict(size='tiny', seed=0)
    cfg.backbone.frozen_stages = -1
    cfg.roi_head.region_loss_weight = 1.0
    cfg.test_cfg.rcnn.score_thr = 0.0
    if masks:
        other = Config.fromfile(folder / 'fgclip2-mask-det_b16_sfpn.py').model.roi_head
        cfg.roi_head.mask_head = other.mask_head
        cfg.roi_head.mask_roi_extractor = other.mask_roi_extractor
        cfg.roi_head.mask_head.update(in_channels=64, conv_out_channels=16, num_convs=1)
        cfg.roi_head.mask_roi_extractor.update(
            out_channels=64, featmap_strides=[8, 16], finest_scale=48
        )
        cfg.train_cfg.rcnn.mask_size = 28
        cfg.test_cfg.rcnn.mask_thr_binary = 0.5
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.init_weights()
    nn.init.normal_(model.roi_head.bbox_head.fc_cls.project.weight, std=1.0)
    model.set_vocabulary(Vocabulary(NAMES, novel_classes=NAMES[2:]))
    return model


def swapped(name: str) -> nn.Module:
    """A config of ``configs/swap`` around the tiny encoder, with three classes."""

    cfg = Config.fromfile(ROOT / 'configs/swap' / name).model
    cfg.backbone.encoder = 'tiny'
    cfg.neck.in_channels = 128
    cfg.bbox_head.num_classes = len(NAMES)
    cfg.test_cfg.score_thr = 0.0
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.init_weights()
    return model


def rescorer() -> nn.Module:
    """The two-stage detector under ``FGCLIP2Rescorer``."""

    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='FGCLIP2Rescorer', encoder=dict(pretrained='fgclip2_tiny'),
            detector=ROOT / 'configs/rescore/faster-rcnn_r18_ovshapes.py',
        )
    )  # fmt: skip
    model.detector.init_weights()
    nn.init.normal_(model.detector.classifier.project.weight, std=1.0)
    model.set_vocabulary(NAMES)
    return model


def detection_data(
    masks: bool = False,
    folder: Path | None = None,
    sizes: Sequence[tuple[int, int]] = SIZES,
) -> dict:
    """Two images with two boxes each, as a data loader gives them."""

    inputs, samples = [], []
    for number, pixels in enumerate(noise_images(sizes)):
        h, w = pixels.shape[:2]
        path = Path(folder or '') / f'{number}.png'
        if folder:
            Image.fromarray(pixels).save(path)
        shapes = dict(img_shape=(h, w), ori_shape=(h, w), scale_factor=(1.0, 1.0))
        sample = DetDataSample(metainfo=dict(shapes, img_path=str(path), img_id=number))
        boxes = torch.tensor([[8.0, 8, 60, 70], [40, 20, 90, 90]])
        truth = dict(bboxes=boxes, labels=torch.tensor([0, 1]))
        if masks:
            drawn = np.zeros((2, h, w), np.uint8)
            drawn[0, 8:70, 8:60] = drawn[1, 20:90, 40:90] = 1
            truth['masks'] = BitmapMasks(drawn, h, w)
        sample.gt_instances = InstanceData(**truth)
        none = dict(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
        sample.ignored_instances = InstanceData(**none)
        inputs.append(torch.from_numpy(pixels).permute(2, 0, 1).contiguous())
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def alignment(autocast: bool = False, size: str = 'tiny') -> nn.Module:

    torch.manual_seed(0)
    return FGCLIP2Alignment(dict(size=size), dict(preset='paper'), autocast=autocast)


def alignment_batch(images: int = 3, boxes: int = 2, side: int = 96) -> AlignmentBatch:
    """Noise images with boxes, phrases and two hard negatives for each."""

    draw = np.random.default_rng(0)
    corners = [[0.1 * side, 0.1 * side, 0.6 * side, 0.7 * side]] * boxes
    samples = []
    for number in range(images):
        names = [f'red cup no. {number}{k}' for k in range(boxes)]
        pixels = draw.integers(0, 256, (side, side, 3), np.uint8)
        sample = Sample(
            image=Image.fromarray(pixels), language='en',
            short=f'a table, no. {number}', long=f'a long table of room {number}',
            bboxes=np.array(corners, np.float32) + np.arange(boxes)[:, None],
            phrases=names, hard_positives=names,
            hard_negatives=[[f'blue {name}', f'old {name}'] for name in names],
            true_texts=[(name, f'the {name}') for name in names],
        )  # fmt: skip
        samples.append(sample)
    return AlignmentCollate(max_num_patches=(side // 16) ** 2)(samples)
