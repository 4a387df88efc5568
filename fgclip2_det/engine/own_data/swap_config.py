"""The lines of a config that trains a detector of MMDetection with our backbone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fgclip2_det.compat import mm  # before mmengine

# isort: split
from mmengine.config import Config

from fgclip2_det.io import InputError

from .files import OwnFiles
from .options import SIZES, WITH_MASKS, OwnOptions
from .own_config import base_config, listed, posix


def swap_config(
    files: OwnFiles, names: list[str], has_masks: bool, options: OwnOptions
) -> str:
    """Text of a config: a closed-set detector of ``configs/swap`` on own data.

    The number of classes goes wherever the detector's config has one; data, classes
    and the length of the training are set. Its learning rates stay.

    Args:
        files: of the data.
        names: classes, all of which are trained.
        has_masks: whether every box has a mask.
        options: with ``detector``.

    Raises:
        InputError: a detector of masks for data without, or no config of that name.
    """
    name = str(options.detector)
    if name in WITH_MASKS and not has_masks:
        raise InputError(
            f'{name} learns masks, and not every box of the data has one; label '
            'polygons, or take --detector faster-rcnn'
        )
    size = 'b16' if options.size == 'tiny' else options.size
    found = sorted((options.configs / 'swap').glob(f'{name}_fgclip2-{size}_sfpn_*.py'))
    base = found[0] if found else base_config(
        options.configs, f'swap/{name}_fgclip2-{size}_sfpn.py'
    )  # fmt: skip
    cfg = Config.fromfile(base)
    batch = min(int(cfg.train_dataloader.batch_size), max(1, files.num_train))
    epochs = options.num_epochs(files.num_train, batch)
    parts = [
        f'_base_ = {posix(base)!r}\n',
        f'classes = {listed(names)}\n',
        f'model = dict(\n{_model(cfg.model, len(names), options)})\n',
        f'data_root = {posix(files.data_root)!r}\n',
        _loaders(cfg, files, batch),
        _schedule(cfg, files.num_train, batch, epochs),
    ]
    return ''.join(parts)


def _model(model: Mapping, count: int, options: OwnOptions) -> str:
    lines = ''
    encoder = options.encoder or ('fgclip2_tiny' if options.size == 'tiny' else None)
    if encoder:
        lines += f'    backbone=dict(encoder=dict(pretrained={encoder!r})),\n'
    if options.size == 'tiny':
        lines += _tiny_neck(model['neck'])
    if model['type'] == 'Mask2Former':
        things = f'num_things_classes={count}, num_stuff_classes=0'
        weight = f'loss_cls=dict(class_weight=[1.0] * {count} + [0.1])'
        lines += f'    panoptic_head=dict({things}, {weight}),\n'
        lines += f'    panoptic_fusion_head=dict({things}),\n'
        return lines
    for key, part in model.items():
        if key != 'type' and (text := _with_count(part, count, f'_base_.model.{key}')):
            lines += f'    {key}={text},\n'
    return lines


def _tiny_neck(neck: Any) -> str:
    channels = SIZES['tiny']
    if isinstance(neck, Mapping):
        return f'    neck=dict(in_channels={channels}),\n'
    first = f'dict(_base_.model.neck[0], in_channels={channels})'
    return f'    neck=[{first}, *_base_.model.neck[1:]],\n'


def _with_count(part: Any, count: int, place: str) -> str:
    """What changes in a part of the model so that it has that many classes; '' where
    nothing does. Lists replace those of the base, so they are written whole."""
    if isinstance(part, Mapping):
        inner = [f'num_classes={count}'] if 'num_classes' in part else []
        for key, value in part.items():
            if text := _with_count(value, count, f'{place}.{key}'):
                inner.append(f'{key}={text}')
        return f'dict({", ".join(inner)})' if inner else ''
    is_list = isinstance(part, list | tuple)
    if is_list and any('num_classes' in e for e in part if isinstance(e, Mapping)):
        return f'[dict(each, num_classes={count}) for each in {place}]'
    return ''


def _loaders(cfg: Config, files: OwnFiles, batch: int) -> str:
    text = ''
    for split in ('train', 'val', 'test'):
        if split not in files.ann_files:
            continue
        path = posix(files.ann_files[split])
        prefix = files.prefixes[split]
        inner = (
            f'data_root=data_root, ann_file={path!r}, '
            f'data_prefix=dict(img={prefix!r}), metainfo=dict(classes=classes)'
        )
        depth, dataset = 1, cfg[f'{split}_dataloader'].dataset
        while 'dataset' in dataset:  # RepeatDataset, MultiImageMixDataset
            depth, dataset = depth + 1, dataset.dataset
        text += f'{split}_dataloader = dict('
        text += f'batch_size={batch}, ' if split == 'train' else ''
        text += 'dataset=dict(' * depth + inner + ')' * depth + ')\n'
        if split != 'train':
            text += f'{split}_evaluator = dict(ann_file={path!r})\n'
    if 'test' not in files.ann_files:
        text += 'test_dataloader = val_dataloader\ntest_evaluator = val_evaluator\n'
    return text


def _schedule(cfg: Config, num_images: int, batch: int, epochs: int) -> str:
    """The length of the training; the base's own schedule is for COCO."""
    steps = epochs * max(1, -(-num_images // batch))
    loop = "type='EpochBasedTrainLoop', " if 'max_iters' in cfg.train_cfg else ''
    drop = '_delete_=True, ' if loop else ''
    warm_up = max(1, min(50, steps // 4))
    text = (
        f'max_epochs = {epochs}  # {steps:,} steps\n'
        f'train_cfg = dict({drop}{loop}max_epochs=max_epochs, val_interval=max_epochs'
        f'{"" if loop else _dynamic(cfg)})\n'
        'param_scheduler = [\n'
        "    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, "
        f'end={warm_up}),\n'
        "    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=max_epochs, "
        'T_max=max_epochs, eta_min_ratio=0.02, convert_to_iter_based=True),\n]\n'
    )
    if loop:  # its hooks and samplers count iterations
        text += (
            "train_dataloader['sampler'] = dict(type='DefaultSampler', shuffle=True)\n"
            'default_hooks = dict(checkpoint=dict(by_epoch=True, interval=1))\n'
            'log_processor = dict(by_epoch=True)\n'
        )
    return text


def _dynamic(cfg: Config) -> str:
    """Validations in between, which RTMDet's and Mask2Former's loops have, are left
    out."""
    return ', dynamic_intervals=None' if 'dynamic_intervals' in cfg.train_cfg else ''
