"""A few fixed views of every picture, from the picture or from a feature cache."""

from __future__ import annotations

from collections.abc import Sequence

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.datasets.transforms import PackDetInputs
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import autocast_box_type

from fgclip2_det.datasets.feature_cache import FeatureCache, view_key

from .fgclip2_resize import FGCLIP2Resize
from .open_vocab_load_image import OpenVocabLoadImage


@TRANSFORMS.register_module()
class FGCLIP2LoadView(BaseTransform):
    """Draws a view, a patch budget and mirrored or not, and loads it.

    With a cache (``FGCLIP2FeatureCacheHook`` sets it, and ``digests``, path -> digest
    of the file) the view's map is read and the picture stays closed. Comes first in a
    pipeline; ``FGCLIP2ApplyView`` follows the annotations, ``FGCLIP2PackView`` comes
    last.

    Added keys: ``view``, ``ori_shape``, ``img_shape`` and ``img`` or ``feature_map``.

    Args:
        max_num_patches: one budget, or several of which each is as likely.
        flip: mirrored views as well, half of the time.
        backend_args: of the file backend.

    Raises:
        ValueError: a picture whose view the cache lacks, or has of another size.
    """

    def __init__(
        self,
        max_num_patches: int | Sequence[int] = 1024,
        flip: bool = True,
        backend_args: dict | None = None,
    ) -> None:
        budgets = max_num_patches
        self.budgets = list(budgets) if isinstance(budgets, list | tuple) else [budgets]
        self.flip = flip
        self.load = OpenVocabLoadImage(backend_args)
        self.cache: FeatureCache | None = None
        self.digests: dict[str, str] = {}

    @property
    def views(self) -> list[tuple[int, bool]]:
        """All (budget, mirrored)."""
        flips = (False, True) if self.flip else (False,)
        return [(budget, flip) for budget in self.budgets for flip in flips]

    def transform(self, results: dict) -> dict:
        """Choose a view with numpy's generator, as MMDetection's transforms do."""
        view = self.views[np.random.randint(len(self.views))]
        results['view'] = results.get('wanted_view', view)
        if self.cache is None or 'wanted_view' in results:
            return self.load(results)
        path = results['img_path']
        key = view_key(self.digests.get(path, 'new'), *view)
        if key not in self.cache:
            self.load(results)  # a damaged picture is the data set's business
            raise ValueError(
                f'{self.cache.folder} has no map of {path} ({key}); pictures were '
                'added since it was filled, start the training again'
            )
        results['feature_map'], (height, width) = self.cache.read(key)
        expected = results.get('height', height), results.get('width', width)
        if (height, width) != expected:
            raise ValueError(
                f'{path}: the annotation file says {expected[1]} x {expected[0]} '
                f'pixels, the map in {self.cache.folder} was made of {width} x '
                f'{height}; correct the annotation file'
            )
        results['img_shape'] = results['ori_shape'] = (height, width)
        return results


@TRANSFORMS.register_module()
class FGCLIP2ApplyView(BaseTransform):
    """Resizes and mirrors the picture, if there is one, and its boxes and masks."""

    def transform(self, results: dict) -> dict:
        """What ``FGCLIP2Resize`` and ``RandomFlip`` do for that view."""
        budget, flip = results['view']
        results = FGCLIP2Resize(budget)(results)
        results['flip'] = flip
        results['flip_direction'] = 'horizontal' if flip else None
        if flip:
            self._flip(results)
        return results

    @autocast_box_type()
    def _flip(self, results: dict) -> None:
        if results.get('gt_bboxes') is not None:
            results['gt_bboxes'].flip_(results['img_shape'], 'horizontal')
        if results.get('gt_masks') is not None:
            results['gt_masks'] = results['gt_masks'].flip('horizontal')
        for name in ('img', 'gt_seg_map'):
            if results.get(name) is not None:
                results[name] = mmcv.imflip(results[name], 'horizontal')


@TRANSFORMS.register_module()
class FGCLIP2PackView(PackDetInputs):
    """``PackDetInputs``, whose ``inputs`` may be a map (D, h, w) from a cache."""

    def transform(self, results: dict) -> dict:
        """As in ``PackDetInputs``."""
        packed = super().transform(results)
        if 'feature_map' in results:
            packed['inputs'] = results['feature_map']
        return packed
