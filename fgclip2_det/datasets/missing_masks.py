"""Support for instances without a mask in COCO and LVIS data sets."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

from mmdet.datasets import CocoDataset, LVISV05Dataset, LVISV1Dataset
from mmengine.logging import MMLogger

from fgclip2_det.coco.checks import has_mask


def install() -> None:
    """Patch MMDetection's data sets to accept ``segmentation: []`` in mask training.

    Unpatched, they raise ``KeyError: 'mask'`` during an epoch.
    """
    for kind in (CocoDataset, LVISV05Dataset, LVISV1Dataset):
        own = vars(kind).get('load_data_list')
        if own is not None and not hasattr(own, '_accepts_missing_masks'):
            kind.load_data_list = _accept_missing_masks(own)


def _accept_missing_masks(load: Callable) -> Callable:
    @functools.wraps(load)
    def load_data_list(self: CocoDataset) -> list[dict]:
        data_list = load(self)
        steps = self.pipeline.transforms
        if any(getattr(step, 'with_mask', False) for step in steps):
            ignore_missing_masks(self.ann_file, data_list)
        return data_list

    cast(Any, load_data_list)._accepts_missing_masks = True
    return load_data_list


def ignore_missing_masks(ann_file: str, data_list: list[dict]) -> None:
    """Mark instances without a mask as ignored and use their box as mask; warns once.

    Args:
        ann_file: path of the annotation file, for messages.
        data_list: entries of the data set; changed in place.

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
            f'{ann_file}: {len(without)} of {total} annotations have no mask (the '
            f'first in image {without[0]}); they are ignored, neither positives nor '
            'background'
        )
