"""Instances without a mask among some with one, in COCO and LVIS data sets."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

from mmdet.datasets import CocoDataset, LVISV05Dataset, LVISV1Dataset
from mmengine.logging import MMLogger

from fgclip2_det.coco.checks import has_mask


def install() -> None:
    """Make mask training accept ``segmentation: []`` in MMDetection's own data sets.

    Otherwise it raises ``KeyError: 'mask'`` during an epoch.
    """
    for kind in (CocoDataset, LVISV05Dataset, LVISV1Dataset):
        own = vars(kind).get('load_data_list')
        if own is not None and not hasattr(own, '_settles_masks'):
            kind.load_data_list = _settled(own)


def _settled(load: Callable) -> Callable:
    @functools.wraps(load)
    def settled(self: CocoDataset) -> list[dict]:
        data_list = load(self)
        steps = self.pipeline.transforms
        if any(getattr(step, 'with_mask', False) for step in steps):
            ignore_missing_masks(self.ann_file, data_list)
        return data_list

    cast(Any, settled)._settles_masks = True
    return settled


def ignore_missing_masks(ann_file: str, data_list: list[dict]) -> None:
    """Mark instances without a mask as ignored, with their box as mask; warns once.

    Raises:
        ValueError: if there are instances and none has a mask.
    """
    total, without = 0, []
    for info in data_list:
        for instance in info['instances']:
            total += 1
            if not has_mask(instance.get('mask')):
                x1, y1, x2, y2 = instance['bbox']
                instance['mask'] = [[x1, y1, x2, y1, x2, y2, x1, y2]]
                instance['ignore_flag'] = 1
                without.append(info['img_id'])
    if without and len(without) == total:
        raise ValueError(
            f'{ann_file}: none of its {total} annotations has a mask, which the '
            'pipeline loads; use a config without masks, or add segmentation to the '
            'file'
        )
    if without:
        MMLogger.get_current_instance().warning(
            f'{ann_file}: {len(without)} of {total} annotations have no mask (image '
            f'{without[0]} has the first); they are ignored, neither trained on nor '
            'taken for background'
        )
